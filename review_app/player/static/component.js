// The review page inside Streamlit: one instance per mount, kept over reruns; Streamlit calls the default export again with new data each time.

import { Review } from "./review.js";

const mounted = new WeakMap(); // parentElement -> {review, setters}

export default function ({ parentElement, data, setStateValue, setTriggerValue }) {
  const setters = { setStateValue, setTriggerValue };
  const known = mounted.get(parentElement);
  if (known) {
    known.setters = setters; // those of an earlier run write to a widget state that is gone
    known.review.update(data);
  } else {
    const instance = { setters, review: null };
    mounted.set(parentElement, instance);
    instance.review = new Review({
      root: parentElement,
      config: data,
      onClip: (clip) => {
        // A rerun of the page per clip is for pages that ask for it; a clip without an id yet is not worth one.
        if (instance.review.config.report_clip && typeof clip.id === "number") instance.setters.setStateValue("clip_id", clip.id);
      },
      onSignedOut: () => instance.setters.setTriggerValue("signed_out", Date.now()),
    });
    instance.review.start();
  }
  return () => {
    mounted.get(parentElement)?.review.close();
    mounted.delete(parentElement);
  };
}
