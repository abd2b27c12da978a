import assert from "node:assert/strict";
import { test } from "node:test";

import { placeBeside } from "../../review_app/grid/static/elements.js";

test("an arrow leads to the card beside, above or below, and stays at the edge", () => {
  const middles = [[0, 0], [10, 0], [20, 0], [0, 50], [10, 50]].map(([x, y]) => ({ x, y }));
  const to = (place, ...ways) => ways.reduce((at, way) => placeBeside(middles, at, way), place);
  assert.deepEqual([to(0, "right"), to(2, "right"), to(4, "right"), to(0, "left")], [1, 3, 4, 0]);
  assert.deepEqual([to(1, "down"), to(2, "down"), to(4, "down"), to(4, "up"), to(0, "up")], [4, 4, 4, 1, 0]);
  assert.deepEqual([to(2, "last"), to(2, "first")], [4, 0]);
});
