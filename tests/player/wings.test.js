import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../review_app", import.meta.url));
const WINGS = ["picture", "decisions", "page"]; // each knows itself and those before it
const MOST_LINES = 500;

/** {path of a module below `folder`: its text}. */
function modulesIn(folder) {
  const paths = readdirSync(folder, { recursive: true }).filter((path) => path.endsWith(".js"));
  return Object.fromEntries(paths.map((path) => [path, readFileSync(join(folder, path), "utf8")]));
}

/** {path: [paths that it imports]} of {path: text}. */
function importsOf(modules) {
  const named = (text) => [...text.matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)";|\bimport\("([^"]+)"\)/gm)].map((found) => found[1] ?? found[2]);
  return Object.fromEntries(Object.entries(modules).map(([path, text]) => [path, named(text).map((name) => join(dirname(path), name))]));
}

/** What is wrong with the imports, in words: files that are not there, wings that know a later one, circles. */
function faults(imports) {
  const place = (path) => WINGS.indexOf(path.split("/")[0]);
  const found = [];
  for (const [path, names] of Object.entries(imports)) {
    if (place(path) < 0) found.push(`${path} is in no wing`);
    for (const name of names) {
      if (!(name in imports)) found.push(`${path} imports ${name}, which is not there`);
      else if (place(name) > place(path)) found.push(`${path} imports ${name}`);
    }
  }
  const done = new Set();
  const visit = (path, way) => {
    if (way.includes(path)) found.push(`a circle: ${[...way.slice(way.indexOf(path)), path].join(" > ")}`);
    if (done.has(path) || way.includes(path)) return;
    for (const name of imports[path] ?? []) visit(name, [...way, path]);
    done.add(path);
  };
  for (const path of Object.keys(imports)) visit(path, []);
  return found;
}

test("faults are found", () => {
  const modules = {
    "picture/a.js": 'import { b } from "../decisions/b.js";\n',
    "decisions/b.js": 'import { c } from "./c.js";\nimport {\n  d,\n} from "./d.js";\n',
    "decisions/c.js": 'const later = import("./b.js");\n',
    "e.js": "",
  };
  assert.deepEqual(faults(importsOf(modules)), [
    "picture/a.js imports decisions/b.js",
    "decisions/b.js imports decisions/d.js, which is not there",
    "e.js is in no wing",
    "a circle: decisions/b.js > decisions/c.js > decisions/b.js",
  ]);
});

test("the player's wings know one another one way, and no modules go round in a circle", () => {
  const imports = importsOf(modulesIn(join(ROOT, "player/static")));
  assert.ok(Object.values(imports).flat().length > 60, "the imports are read");
  assert.deepEqual(faults(imports), []);
});

test("every module stands in the README", () => {
  const readme = readFileSync(join(ROOT, "player/README.md"), "utf8");
  const missing = Object.keys(modulesIn(join(ROOT, "player/static"))).filter((path) => !readme.includes(`\`${path.split("/")[1]}\``));
  assert.deepEqual(missing, []);
});

test("the grid and the ledger import their own files only: the player's have an address that changes", () => {
  for (const folder of ["grid/static", "ledger"]) {
    const imports = importsOf(modulesIn(join(ROOT, folder)));
    for (const [path, names] of Object.entries(imports)) for (const name of names) assert.ok(name in imports, `${folder}/${path} imports ${name}`);
  }
});

test("no file for the browser is longer than 500 lines", () => {
  const files = readdirSync(ROOT, { recursive: true }).filter((path) => /\.(js|css)$/.test(path) && statSync(join(ROOT, path)).isFile());
  assert.ok(files.length > 40);
  for (const path of files) {
    const lines = readFileSync(join(ROOT, path), "utf8").split("\n").length - 1;
    assert.ok(lines <= MOST_LINES, `${relative(".", join(ROOT, path))} has ${lines} lines`);
  }
});
