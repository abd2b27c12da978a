// The review page inside Streamlit: one instance per mount, kept over reruns; Streamlit calls the default export again with new data each time.

import { Review } from "./review.js";

const mounted = new WeakMap(); // parentElement -> {review, setTriggerValue}

export default function ({ parentElement, data, setTriggerValue }) {
  const known = mounted.get(parentElement);
  if (known) {
    known.setTriggerValue = setTriggerValue; // that of an earlier run writes to a widget state that is gone
    known.review.update(data);
  } else {
    const instance = { setTriggerValue, review: null };
    mounted.set(parentElement, instance);
    instance.review = new Review({
      root: parentElement,
      config: data,
      onSignedOut: () => instance.setTriggerValue("signed_out", Date.now()),
    });
    instance.review.start();
  }
  return () => {
    mounted.get(parentElement)?.review.close();
    mounted.delete(parentElement);
  };
}
