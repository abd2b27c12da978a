// The canvas that shows exact frames, and knows which one.

export class ExactCanvas {
  #context;
  frame = null;

  constructor(canvas) {
    this.element = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
  }

  /** Draw a lent picture; it may be gone from the cache after this turn, so nothing is awaited before the drawing. */
  draw(picture, frame) {
    const { element } = this;
    const width = picture.displayWidth ?? picture.width;
    const height = picture.displayHeight ?? picture.height;
    if (element.width !== width || element.height !== height) {
      element.width = width;
      element.height = height;
    }
    this.#context.drawImage(picture, 0, 0, width, height);
    this.frame = frame;
    element.dataset.frame = frame;
  }

  clear() {
    this.#context.clearRect(0, 0, this.element.width, this.element.height);
    this.frame = null;
    delete this.element.dataset.frame;
  }
}
