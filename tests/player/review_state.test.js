import assert from "node:assert/strict";
import { test } from "node:test";

import { addChoice, canRedo, canUndo, decisionFor, moveRange, newsFor, undoStacks } from "../../review_app/player/static/decisions/choices.js";
import { EMPTY, passedOver, progressShown, reduced, scene, upcoming, visible } from "../../review_app/player/static/decisions/review_state.js";
import { newsWords, recordWords, returnWords } from "../../review_app/player/static/decisions/words.js";

const video = { id: 1, title: "Harbour", frame_count: 160 };
const clip = (id, start, end, more = {}) => ({
  id, source_video_id: 1, sequence: id, start_frame: start, end_frame: end, state: "pending_review", version: 1, grouped_with_clip_id: null, ...more,
});
const CLIPS = [clip(1, 0, 40), clip(2, 40, 80), clip(3, 80, 120), clip(4, 120, 160)];
const answer = (more = {}) => ({ queue: [1, 2, 3, 4], clips: CLIPS, videos: [video], progress: { done: 10, left: 4, per_hour: 60 }, ...more });
const loaded = (more) => reduced(EMPTY, { type: "queue_loaded", answer: answer(more) });

let keys = 0;
/** The state after the reviewer's `action`, and the decision. */
function decide(state, action, at) {
  const decision = decisionFor(state, action, `k${++keys}`, at);
  assert.equal(decision.problem, undefined);
  return [reduced(state, { type: "decided", decision }), decision];
}
const confirmed = (state, decision, reply) => reduced(state, { type: "confirmed", decision, answer: reply });
const ranges = (state) => [...visible(state).clips.values()].map((one) => [one.start_frame, one.end_frame]).sort((a, b) => a[0] - b[0]);
const current = (state) => scene(state).clip;

test("the first clip of the queue is on the stage, with its neighbours", () => {
  const { clip: shown, previous, next } = scene(loaded());
  assert.deepEqual([shown.id, previous, next.id], [1, null, 2]);
});

test("a decision shows at once and brings the next clip", () => {
  const [state, decision] = decide(loaded(), "approve");
  assert.equal(visible(state).clips.get(1).state, "review_approved");
  assert.equal(current(state).id, 2);
  assert.deepEqual(decision.versions, { 1: 1 });
  assert.deepEqual(progressShown(state), { done: 11, left: 3, per_hour: 60 });
  assert.deepEqual(upcoming(state).map((one) => one.id), [3, 4]);
  assert.equal(state.clips[1].state, "pending_review", "the server has not said so yet");
});

test("an answer replaces the guess; progress is not counted twice", () => {
  const [state, decision] = decide(loaded(), "skip");
  const reply = { clips: [clip(1, 0, 40, { state: "review_skipped", version: 2 })], progress: { done: 11, left: 3, per_hour: 60 } };
  const after = confirmed(state, decision, reply);
  assert.deepEqual([after.pending, after.clips[1].version, progressShown(after).done], [[], 2, 11]);
});

test("a refusal puts the clip back as the server has it, next in the queue", () => {
  const [state, decision] = decide(loaded(), "approve");
  const after = reduced(state, { type: "refused", decision, dropped: [], answer: { clips: [clip(1, 0, 30, { version: 5 }), clip(9, 30, 40)] } });
  assert.equal(current(after).id, 2, "the reviewer is not torn away");
  assert.deepEqual(upcoming(after).map((one) => one.id), [1, 3, 4]);
  assert.deepEqual(ranges(after).slice(0, 3), [[0, 30], [30, 40], [40, 80]]);
});

test("a new cut makes two clips that can be decided on before they have ids", () => {
  const [cut, adding] = decide(loaded(), "add_cut_point", { frame: 15 });
  assert.deepEqual(ranges(cut).slice(0, 2), [[0, 15], [15, 40]]);
  assert.equal(current(cut).end_frame, 15);
  const [first, approving] = decide(cut, "approve");
  assert.equal(approving.clip_id, `~${adding.request_key}/0`);
  assert.deepEqual(Object.values(approving.versions), [null]);
  assert.deepEqual([current(first).start_frame, current(first).end_frame], [15, 40]);
  const after = confirmed(first, adding, { clips: [clip(11, 0, 15), clip(12, 15, 40)], retired: [1] });
  assert.equal(current(after).id, 12);
  assert.equal(visible(after).clips.get(11).state, "review_approved");
  assert.equal(after.pending[0].clip_id, 11);
});

test("removing a cut joins two clips, moving one changes both", () => {
  const state = reduced(loaded(), { type: "opened", id: 2 });
  const [joined] = decide(state, "remove_cut_point", { frame: 80 });
  assert.deepEqual([current(joined).start_frame, current(joined).end_frame], [40, 120]);
  assert.deepEqual(joined.queue.filter((id) => typeof id === "number"), [1, 4]);
  const [moved, decision] = decide(state, "move_cut_point", { frame: 80, new_frame: 70 });
  assert.deepEqual(ranges(moved), [[0, 40], [40, 70], [70, 120], [120, 160]]);
  assert.equal(current(moved).id, 2);
  assert.deepEqual(decision.versions, { 2: 1, 3: 1 });
});

test("what a cut is said to be shows at once, is taken back by undo, and follows the cut", () => {
  const dissolve = { kind: "dissolve", first_frame: 76, last_frame: 83 };
  const state = reduced(loaded(), { type: "opened", id: 2 });
  const cut = (now, id) => visible(now).clips.get(id).cut;
  const [said, decision] = decide(state, "edit_cut", { frame: 80, ...dissolve });
  assert.deepEqual([decision.versions, cut(said, 3), current(said).id], [{ 2: 1, 3: 1 }, dissolve, 2]);
  const [undone] = decide(said, "undo");
  assert.equal(cut(undone, 3), undefined);
  const [moved] = decide(said, "move_cut_point", { frame: 80, new_frame: 84 });
  assert.deepEqual(cut(moved, 3), dissolve, "directly beside the cut");
  const [gone] = decide(said, "move_cut_point", { frame: 80, new_frame: 90 });
  assert.deepEqual(cut(gone, 3), { kind: "dissolve", first_frame: null, last_frame: null });
  const [added] = decide(said, "add_cut_point", { frame: 60 });
  assert.deepEqual([...visible(added).clips.values()].find((one) => one.start_frame === 60).cut.kind, "hand");
  assert.match(decisionFor(state, "edit_cut", "k", { frame: 0, kind: "fade" }).problem, /begins or ends here/);
  const record = { action: "edit_cut", before: [CLIPS[1], CLIPS[2]], after: [CLIPS[1], clip(3, 80, 120, { cut: dissolve })] };
  assert.equal(returnWords("undo", record, { 1: video }), "undid setting the cut of clip 3 of Harbour at frame 80 to dissolve, 8 frames");
  assert.equal(recordWords(record, { 1: video }), "set the cut of clip 3 of Harbour at frame 80 to dissolve, 8 frames");
});

test("group approves both and goes on", () => {
  const [state, decision] = decide(reduced(loaded(), { type: "opened", id: 2 }), "group");
  assert.deepEqual([1, 2].map((id) => visible(state).clips.get(id).state), ["review_approved", "review_approved"]);
  assert.equal(visible(state).clips.get(2).grouped_with_clip_id, 1);
  assert.deepEqual(decision.versions, { 1: 1, 2: 1 });
  assert.equal(current(state).id, 3);
});

test("what was left undecided comes last, also after an undo, and after a clip that was opened out of turn", () => {
  const undecided = reduced(loaded(), { type: "passed", id: 2 });
  const waiting = (state) => upcoming(state).map((one) => one.id);
  assert.deepEqual([current(undecided).id, waiting(undecided)], [2, [3, 4, 1]]);
  const [skipped] = decide(undecided, "skip");
  const [back] = decide(skipped, "undo");
  assert.deepEqual([current(back).id, waiting(back), passedOver(back)], [2, [3, 4, 1], 1]);
  assert.equal(current(decide(back, "approve")[0]).id, 3, "not the one that was left undecided");
  const opened = reduced(skipped, { type: "opened", id: 4 });
  assert.deepEqual([current(opened).id, waiting(opened)], [4, [3, 1]]);
  const [theirs, undo] = decide(undecided, "undo");
  const earlier = clip(9, 160, 200);
  const reply = { action: "undo", clips: [earlier], changed: [9] };
  const shown = reduced(theirs, { type: "confirmed", decision: undo, answer: reply, follow: true });
  assert.deepEqual([current(shown).id, waiting(shown)], [9, [2, 3, 4, 1]]);
});

test("undo shows the clip again at once, redo goes on again", () => {
  const [approved, first] = decide(loaded(), "approve");
  const [twice] = decide(approved, "archive");
  const [back, undoing] = decide(twice, "undo");
  assert.equal(current(back).id, 2);
  assert.equal(visible(back).clips.get(2).state, "pending_review");
  const [more, undoingFirst] = decide(back, "undo");
  assert.equal(undoingFirst.target, first.request_key);
  assert.equal(current(more).id, 1);
  const [again, redoing] = decide(more, "redo");
  assert.equal(redoing.target, first.request_key);
  assert.equal(visible(again).clips.get(1).state, "review_approved");
  assert.equal(current(again).id, 2);
  assert.equal(undoing.versions[2], null);
});

test("an undo that is refused is passed over: the next one goes on to the decision before", () => {
  const refused = (state, decision, dropped = []) => reduced(state, { type: "refused", decision, dropped, answer: {} });
  const [one, first] = decide(loaded(), "approve");
  const [two] = decide(one, "skip");
  const [back, undoing] = decide(two, "undo");
  const after = refused(back, undoing);
  assert.equal(decisionFor(after, "undo", "k").target, first.request_key);
  const [both] = decide(back, "undo");
  assert.equal(decisionFor(refused(both, undoing), "redo", "k").target, first.request_key, "an undo behind it stands");
  const [again] = decide(back, "redo");
  const [once, undoingOnce] = decide(again, "undo");
  assert.equal(decisionFor(refused(once, undoingOnce), "undo", "k").target, first.request_key, "also after a redo");
});

test("a redo that is refused is not tried again", () => {
  const [one, first] = decide(loaded(), "approve");
  const [two] = decide(one, "skip");
  const [back] = decide(two, "undo");
  const [more] = decide(back, "undo");
  const [again, redoing] = decide(more, "redo");
  assert.equal(redoing.target, first.request_key);
  const after = reduced(again, { type: "refused", decision: redoing, dropped: [], answer: {} });
  assert.notEqual(decisionFor(after, "redo", "k").target, first.request_key);
});

test("undo of an answered decision puts back what was before it, with the real ids", () => {
  const [cut, adding] = decide(loaded(), "add_cut_point", { frame: 15 });
  const answered = confirmed(cut, adding, { clips: [clip(11, 0, 15), clip(12, 15, 40)], retired: [1] });
  const [back, undoing] = decide(answered, "undo");
  assert.deepEqual(ranges(back)[0], [0, 40]);
  assert.deepEqual(Object.keys(undoing.versions).sort(), ["1", "11", "12"]);
  const after = confirmed(back, undoing, { clips: [clip(1, 0, 40, { version: 3 })], retired: [11, 12] });
  assert.equal(current(after).id, 1);
  const [redone] = decide(after, "redo");
  assert.deepEqual(ranges(redone).slice(0, 2), [[0, 15], [15, 40]]);
  assert.ok(visible(redone).clips.has(11));
});

test("redo keeps the decision's own result, not what a later undo made of it", () => {
  const [approved, approving] = decide(loaded(), "approve");
  const [back, undoing] = decide(approved, "undo");
  const one = confirmed(back, approving, { clips: [clip(1, 0, 40, { state: "review_approved", version: 2 })] });
  const both = confirmed(one, undoing, { clips: [clip(1, 0, 40, { version: 3 })] });
  const [again] = decide(both, "redo");
  assert.equal(visible(again).clips.get(1).state, "review_approved");
});

test("a new decision ends what could be redone; before this page's decisions the server is asked", () => {
  const [one] = decide(loaded(), "approve");
  const [two] = decide(one, "undo");
  const [three] = decide(two, "skip");
  assert.deepEqual(undoStacks(three).undone, []);
  const nothing = decisionFor(loaded(), "undo", "k");
  assert.deepEqual([nothing.target, nothing.versions], [null, {}]);
});

test("redo is offered until a decision of this page has ended what could be redone", () => {
  const again = () => loaded({ has_decided: true });
  assert.ok(canRedo(again()), "an earlier page may have undone something");
  const [one] = decide(again(), "approve");
  assert.ok(!canRedo(one));
  const [two] = decide(one, "undo");
  assert.ok(canRedo(two));
  const [three] = decide(two, "redo");
  assert.ok(!canRedo(three));
  const [redone] = decide(again(), "redo");
  assert.ok(canRedo(redone), "there may be more of it");
});

test("who has decided nothing yet is offered neither undo nor redo", () => {
  assert.deepEqual([canUndo(loaded()), canRedo(loaded())], [false, false]);
  const [one] = decide(loaded(), "approve");
  assert.deepEqual([canUndo(one), canRedo(one)], [true, false]);
  const [two] = decide(one, "undo");
  assert.deepEqual([canUndo(two), canRedo(two)], [false, true]);
  assert.ok(canUndo(loaded({ has_decided: true })), "an earlier page has decided");
});

test("an undo that only the server could know brings its clip when it is answered", () => {
  const [state, decision] = decide(loaded(), "undo");
  const after = reduced(state, { type: "confirmed", decision, answer: { clips: [clip(8, 200, 240, { source_video_id: 7 })], changed: [8] }, follow: true });
  assert.equal(after.current, 8);
});

test("illegal wishes are told in words with the legal range", () => {
  const state = loaded();
  assert.match(decisionFor(state, "group", "k").problem, /first clip of its video/);
  assert.match(decisionFor(state, "add_cut_point", "k", { frame: 0 }).problem, /begins here already/);
  assert.match(decisionFor(state, "remove_cut_point", "k", { frame: 0 }).problem, /begins or ends here/);
  assert.match(decisionFor(state, "move_cut_point", "k", { frame: 40, new_frame: 80 }).problem, /frames 1\.\.79, not 80/);
  assert.equal(moveRange(clip(1, 0, 1), clip(2, 1, 2)), null);
  assert.equal(addChoice(clip(1, 5, 6), 5).add, false);
  assert.match(decisionFor(EMPTY, "approve", "k").problem, /no clip/);
});

test("a move that is only looked at is shown and not decided", () => {
  const state = loaded();
  const decision = { ...decisionFor(state, "move_cut_point", "preview", { frame: 40, new_frame: 33 }), request_key: "preview" };
  const looked = reduced(state, { type: "previewed", decision });
  assert.equal(current(looked).end_frame, 33);
  assert.deepEqual([looked.pending, looked.log], [[], []]);
  assert.equal(current(reduced(looked, { type: "previewed", decision: null })).end_frame, 40);
});

test("decisions from before a reload are laid over the fresh queue", () => {
  const pending = { request_key: "old-1", action: "approve", clip_id: 1, versions: { 1: 1 } };
  const state = reduced(reduced(EMPTY, { type: "restored", decisions: [pending] }), { type: "queue_loaded", answer: answer() });
  assert.equal(current(state).id, 2);
  assert.equal(reduced(state, { type: "restored", decisions: [pending] }).pending.length, 1);
});

test("decisions that a closed tab left are taken over late: the stage moves on to what still waits", () => {
  const left = [1, 2].map((id) => ({ request_key: `old-${id}`, action: "approve", clip_id: id, versions: { [id]: 1 } }));
  assert.equal(current(reduced(loaded(), { type: "restored", decisions: left })).id, 3);
  const elsewhere = { request_key: "old-3", action: "skip", clip_id: 3, versions: { 3: 1 } };
  assert.equal(current(reduced(loaded(), { type: "restored", decisions: [elsewhere] })).id, 1, "the reviewer is not torn away");
});

test("a decision that the server had already applied is laid on without harm", () => {
  const [state] = decide(loaded(), "add_cut_point", { frame: 15 });
  const after = reduced(state, { type: "queue_loaded", answer: answer({ queue: [11, 12, 2], clips: [clip(11, 0, 15), clip(12, 15, 40), ...CLIPS.slice(1)] }) });
  assert.deepEqual(ranges(after), [[0, 15], [15, 40], [40, 80], [80, 120], [120, 160]]);
  assert.equal(current(after).id, 11);
});

test("a colleague's cut replaces the clips it lies over, an older word never a newer one", () => {
  const state = loaded();
  const cut = reduced(state, { type: "clips_changed", answer: { clips: [clip(21, 0, 25), clip(22, 25, 40)], retired: [1] } });
  assert.equal(current(cut).id, 21, "the same place in the video");
  const fresh = reduced(state, { type: "clips_changed", answer: { clips: [clip(2, 40, 80, { version: 4, state: "review_skipped" })] } });
  assert.equal(reduced(fresh, { type: "clips_changed", answer: { clips: [clip(2, 40, 80, { version: 3 })] } }).clips[2].version, 4);
});

test("a clip leased to somebody else leaves the queue", () => {
  const state = reduced(loaded(), { type: "left", ids: [1, 2] });
  assert.equal(current(state).id, 3);
  assert.deepEqual(upcoming(state).map((one) => one.id), [4]);
});

test("when nothing waits any more there is no current clip, and a new one is taken up", () => {
  let state = loaded({ queue: [1], clips: [clip(1, 0, 40)] });
  [state] = decide(state, "approve");
  assert.equal(scene(state), null);
  state = reduced(state, { type: "queue_loaded", answer: { queue: [30], clips: [clip(30, 200, 240)], videos: [] } });
  assert.equal(state.current, 30);
});

test("another queue begins anew", () => {
  const state = reduced(loaded(), { type: "queue_loaded", fresh: true, answer: { queue: [3], clips: CLIPS, videos: [video] } });
  assert.deepEqual([state.current, state.queue], [3, [3]]);
});

test("while an undo of an earlier page's decision is on its way nothing else is decided: the page cannot know yet which clip comes", () => {
  const [waiting, undo] = decide(loaded(), "undo");
  assert.match(decisionFor(waiting, "approve", "k").problem, /on its way/);
  assert.equal(decisionFor(waiting, "undo", "k").problem, undefined);
  const back = confirmed(waiting, undo, { clips: [clip(1, 0, 40, { version: 3 })] });
  assert.equal(decisionFor(back, "approve", "k").problem, undefined);
  const refused = reduced(waiting, { type: "refused", decision: undo, dropped: [], answer: {} });
  assert.equal(decisionFor(refused, "approve", "k").problem, undefined);
});

test("an undo whose outcome shows at once holds nothing up", () => {
  let [state] = decide(loaded(), "approve");
  [state] = decide(state, "undo");
  assert.equal(current(state).id, 1);
  assert.equal(decisionFor(state, "skip", "k").problem, undefined);
});

test("a clip whose video is not known yet is not on the stage and cannot be decided on", () => {
  const state = loaded({ videos: [] });
  assert.match(decisionFor(state, "approve", "k").problem, /no clip on the stage/);
});

test("what was decided on the halves of a cut stands when the server's clips arrive before its answer", () => {
  const [cut, adding] = decide(loaded(), "add_cut_point", { frame: 15 });
  const [first] = decide(cut, "approve");
  const [both, skipping] = decide(first, "skip");
  const halves = [clip(11, 0, 15), clip(12, 15, 40)];
  const early = reduced(both, { type: "queue_loaded", answer: answer({ queue: [11, 12, 2, 3], clips: [...halves, ...CLIPS.slice(1)] }) });
  assert.equal(current(early).id, 2, "the halves are decided");
  assert.deepEqual([11, 12].map((id) => visible(early).clips.get(id).state), ["review_approved", "review_skipped"]);
  assert.deepEqual(upcoming(early).map((one) => one.id), [3, 4]);
  const moving = decisionFor(early, "move_cut_point", "m", { frame: 40, new_frame: 41 });
  assert.deepEqual(moving.versions, { 2: 1, 12: null }, "not the version before it was skipped");
  const told = confirmed(early, adding, { clips: halves, retired: [1] });
  assert.deepEqual(told.pending.map((one) => one.clip_id), [11, 12]);
  assert.equal(visible(told).clips.get(12).state, "review_skipped");
  const done = confirmed(told, { ...skipping, clip_id: 12 }, { clips: [clip(12, 15, 40, { state: "review_skipped", version: 2 })] });
  assert.equal(current(done).id, 2);
});

test("a cut that is gone already when its removal is answered leaves one clip to decide on", () => {
  const [state, removing] = decide(loaded(), "remove_cut_point", { frame: 40 });
  const [decided] = decide(state, "archive");
  const early = reduced(decided, { type: "clips_changed", answer: { clips: [clip(11, 0, 80)], retired: [1, 2] } });
  assert.equal(visible(early).clips.get(11).state, "review_archived");
  assert.equal(current(early).id, 3);
  assert.deepEqual(confirmed(early, removing, { clips: [clip(11, 0, 80)] }).pending[0].clip_id, 11);
});

const ADA = { id: 7, name: "Ada" };
const mine = () => reduced({ ...EMPTY, me: 1 }, { type: "queue_loaded", answer: answer() });
const theirs = (state, ...clips) => reduced(state, { type: "clips_changed", answer: { clips, retired: [] } });
const said = (state, action, at) => newsFor(state, decisionFor(state, action, "k", at)).map((one) => newsWords(one, state.videos));

test("what a colleague does to the clip on the stage is news for a decision on it, until it is said", () => {
  const state = theirs(mine(), clip(1, 0, 40, { state: "review_archived", version: 2, changed_by: ADA }));
  assert.deepEqual(said(state, "approve"), ["Ada has archived clip 1 of Harbour"]);
  assert.deepEqual(said(reduced(state, { type: "told" }), "approve"), []);
  const later = theirs(state, clip(1, 0, 40, { state: "review_skipped", version: 3, changed_by: ADA }));
  assert.deepEqual(said(later, "approve"), ["Ada has skipped clip 1 of Harbour"], "as it is now, against what was seen");
  const elsewhere = reduced(state, { type: "opened", id: 2 });
  assert.deepEqual(said(reduced(elsewhere, { type: "opened", id: 1 }), "approve"), [], "opened again it is seen as it is");
});

test("one's own decisions and clips out of sight are no news", () => {
  const own = theirs(mine(), clip(1, 0, 40, { state: "review_skipped", version: 2, changed_by: { id: 1, name: "Me" } }));
  assert.deepEqual(own.news, {});
  assert.deepEqual(theirs(mine(), clip(3, 80, 120, { state: "review_skipped", version: 2, changed_by: ADA })).news, {});
});

test("a cut that a colleague has moved or added under the reviewer's eyes is news too, beside the clip as well", () => {
  const moved = theirs(mine(), clip(1, 0, 50, { version: 2, changed_by: ADA }), clip(2, 50, 80, { version: 2, changed_by: ADA }));
  assert.deepEqual(said(moved, "skip"), ["Ada has moved a cut of clip 1 of Harbour: it has 50 frames now"]);
  assert.equal(said(moved, "remove_cut_point", { frame: 50 }).length, 2);
  const beside = theirs(mine(), clip(2, 40, 80, { state: "review_approved", version: 2, changed_by: ADA }));
  assert.deepEqual([said(beside, "approve"), said(beside, "remove_cut_point", { frame: 40 })], [[], ["Ada has approved clip 2 of Harbour"]]);
  const cut = reduced(mine(), {
    type: "clips_changed",
    answer: { clips: [clip(5, 0, 20, { changed_by: ADA }), clip(6, 20, 40, { changed_by: ADA })], retired: [1] },
  });
  assert.deepEqual(said(cut, "approve"), ["Ada has changed the cuts here: this is clip 5 of Harbour now"]);
});

test("a group with a clip that was put aside is refused in words", () => {
  const skipped = theirs(reduced(mine(), { type: "opened", id: 2 }), clip(1, 0, 40, { state: "review_skipped", version: 2, changed_by: ADA }));
  const told = reduced(skipped, { type: "told" });
  assert.equal(
    decisionFor(told, "group", "k").problem,
    "Not grouped: clip 1 of Harbour was skipped (last change: Ada), and a group would approve it. Approve clip 1 first if the two belong together.",
  );
  const [own] = decide(mine(), "archive");
  assert.match(decisionFor(own, "group", "k").problem, /clip 1 of Harbour was archived by you/);
});

test("a clip that is passed over keeps its place and comes round again", () => {
  const state = reduced(reduced(mine(), { type: "passed", id: 2 }), { type: "passed", id: 3 });
  assert.deepEqual(upcoming(state).map((one) => one.id), [4, 1, 2]);
  assert.equal(passedOver(state), 2);
  const [after] = decide(decide(state, "approve")[0], "skip");
  assert.equal(current(after).id, 1);
});

test("an undo says what it took back, whatever it was", () => {
  const words = (action, before, after) => returnWords("undo", { action, before, after }, { 1: video });
  const [one, two] = CLIPS;
  const as = (state, ...clips) => clips.map((each) => ({ ...each, state }));
  assert.equal(words("skip", [two], as("review_skipped", two)), "undid skipping clip 2 of Harbour");
  assert.equal(words("archive", [one, two], [...as("review_archived", one), two]), "undid archiving clip 1 of Harbour", "clip 2 only left its group");
  assert.equal(words("approve", CLIPS, as("review_approved", ...CLIPS)), "undid approving 4 clips");
  assert.equal(words("group", [one, two], as("review_approved", one, two)), "undid grouping clip 2 of Harbour with the one before");
  assert.equal(words("add_cut_point", [one], [clip(5, 0, 15), clip(6, 15, 40)]), "undid cutting clip 1 of Harbour at frame 15");
  assert.equal(words("remove_cut_point", [one, two], [clip(7, 0, 80)]), "undid removing the cut of clip 1 of Harbour at frame 40");
  assert.equal(words("move_cut_point", [one, two], [clip(1, 0, 43), clip(2, 43, 80)]), "undid moving a cut of clip 1 of Harbour from frame 40 to 43");
  assert.equal(words("send_back", CLIPS, as("pending_review", ...CLIPS)), "undid sending 4 clips back to review");
  assert.equal(words("recut", CLIPS, [clip(9, 0, 160)]), "undid cutting Harbour anew");
  assert.equal(words("import_cuts", CLIPS, [clip(9, 0, 160)]), "undid importing the cuts of a list for Harbour");
  assert.equal(words("an action that this page does not know", CLIPS, CLIPS), "undid the last decision");
  assert.equal(returnWords("redo", { action: "skip", before: [two], after: as("review_skipped", two) }, { 1: video }), "redid skipping clip 2 of Harbour");
  assert.equal(returnWords("redo", null, {}), "redid the last decision");
});
