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
    if (element.width !== picture.width || element.height !== picture.height) {
      element.width = picture.width;
      element.height = picture.height;
    }
    this.#context.drawImage(picture, 0, 0);
    this.frame = frame;
    element.dataset.frame = frame;
  }

  clear() {
    this.#context.clearRect(0, 0, this.element.width, this.element.height);
    this.frame = null;
    delete this.element.dataset.frame;
  }
}
