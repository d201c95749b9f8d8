// Markdown as far as Discord shows it: a text as nodes. All text is set as text, never as HTML.
// What Discord does not know (tables, images) stays as it was written.
"use strict";

function el(tag, props, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

const spoken = { t: { timeStyle: "short" }, T: { timeStyle: "medium" }, d: { dateStyle: "short" }, D: { dateStyle: "long" }, f: { dateStyle: "long", timeStyle: "short" }, F: { dateStyle: "full", timeStyle: "short" } };

// How far a moment is away, in one unit.
function away(seconds) {
  const left = Math.round(seconds - Date.now() / 1000);
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, length] = units.find(([, length]) => Math.abs(left) >= length) ?? units[3];
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(Math.round(left / length), unit);
}

// `<t:1700000000:R>`, as it is at this moment; what is relative is told again by the page.
function moment(seconds, style = "f") {
  const at = new Date(seconds * 1000);
  if (style !== "R") return el("time", { dateTime: at.toISOString() }, at.toLocaleString(undefined, spoken[style]));
  const node = el("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, away(seconds));
  node.dataset.seconds = seconds;
  return node;
}

const link = (address, ...children) => el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, ...children);

// What begins at the beginning of a text: first come, first served. `names` tells who and where a
// number is.
const inside = [
  [/^\\([!-/:-@[-`{-~])/, (m) => m[1]],
  [/^(`+)(?!`)([\s\S]*?[^`])\1(?!`)/, (m) => el("code", {}, m[1].length > 1 ? m[2].trim() : m[2])],
  [/^\*\*\*(?=\S)([\s\S]+?)\*\*\*/, (m, names) => el("strong", {}, el("em", {}, ...inline(m[1], names)))],
  [/^\*\*(?=\S)([\s\S]+?)\*\*(?!\*)/, (m, names) => el("strong", {}, ...inline(m[1], names))],
  [/^__(?=\S)([\s\S]+?)__(?!_)/, (m, names) => el("u", {}, ...inline(m[1], names))],
  [/^\*(?=\S)([\s\S]*?[^\s*])\*(?!\*)/, (m, names) => el("em", {}, ...inline(m[1], names))],
  [/^_(?=\S)([\s\S]*?[^\s_])_(?![\p{L}\p{N}_])/u, (m, names) => el("em", {}, ...inline(m[1], names))],
  [/^~~(?=\S)([\s\S]+?)~~/, (m, names) => el("s", {}, ...inline(m[1], names))],
  [/^\|\|([\s\S]+?)\|\|/, (m, names) => el("details", { className: "spoiler" }, el("summary", {}, "spoiler"), ...inline(m[1], names))],
  [/^\[([^\]\n]+)\]\(<?(https?:\/\/[^\s<>)]+)>?\)/, (m, names) => link(m[2], ...inline(m[1], names))],
  [/^<(https?:\/\/[^\s<>]+)>/, (m) => link(m[1], m[1])],
  [/^https?:\/\/[^\s<]*[^\s<.,:;!?"')\]*_~`|]/, (m) => link(m[0], m[0])],
  [/^<(@!?|@&|#)(\d+)>/, (m, names) => el("span", { className: "mention" }, names(m[1], m[2]))],
  [/^<t:(\d{1,12})(?::([tTdDfFR]))?>/, (m) => moment(Number(m[1]), m[2])],
];

function inline(text, names) {
  const out = [];
  let plain = "";
  while (text) {
    const found = inside.map(([rule, make]) => [text.match(rule), make]).find(([match]) => match);
    // A word with its underscores is one: they mark nothing inside it.
    const taken = found?.[0][0] ?? text.match(/^[\p{L}\p{N}]+(?:_+[\p{L}\p{N}]+)*|^[\s\S]/u)[0];
    if (found) { out.push(plain, found[1](found[0], names)); plain = ""; } else plain += taken;
    text = text.slice(taken.length);
  }
  out.push(plain);
  return out.filter((it) => it !== "");
}

// A list as its lines say it, deeper by two spaces or more.
function listNode(lines, names) {
  const item = /^( *)([-*]|\d+\.) +(.*)$/;
  const roots = [];
  const open = []; // { indent, kind, list }
  for (const line of lines) {
    const [, spaces, mark, text] = line.match(item);
    const kind = /\d/.test(mark) ? "ol" : "ul";
    while (open.length && open.at(-1).indent > spaces.length) open.pop();
    const isBeside = open.length && open.at(-1).indent + 1 >= spaces.length;
    // Points and numbers beside each other are two lists.
    if (isBeside && open.at(-1).kind !== kind) open.pop();
    if (!open.length || open.at(-1).indent + 1 < spaces.length) {
      const list = kind === "ol" ? el("ol", { start: parseInt(mark, 10) }) : el("ul", {});
      const above = open.at(-1)?.list.lastChild;
      if (above) above.append(list); else roots.push(list);
      open.push({ indent: spaces.length, kind, list });
    }
    open.at(-1).list.append(el("li", {}, ...inline(text, names)));
  }
  return roots;
}

// The lines of a text without fences.
function blocks(text, names) {
  const out = [];
  const lines = text.split("\n");
  const while_ = (rule) => { const taken = []; while (lines.length && rule.test(lines[0])) taken.push(lines.shift()); return taken; };
  while (lines.length) {
    const heading = lines[0].match(/^(#{1,3}) +(.*)$/);
    if (/^>>> /.test(lines[0])) {
      out.push(el("blockquote", {}, ...blocks(lines.splice(0).join("\n").slice(4), names)));
    } else if (/^> /.test(lines[0])) {
      out.push(el("blockquote", {}, ...blocks(while_(/^> /).map((it) => it.slice(2)).join("\n"), names)));
    } else if (heading) {
      lines.shift();
      out.push(el(`h${heading[1].length + 2}`, {}, ...inline(heading[2], names)));
    } else if (/^-# +\S/.test(lines[0])) {
      out.push(el("small", { className: "note" }, ...inline(lines.shift().replace(/^-# +/, ""), names)));
    } else if (/^ *([-*]|\d+\.) +\S/.test(lines[0])) {
      out.push(...listNode(while_(/^ *([-*]|\d+\.) +\S/), names));
    } else {
      const special = /^(>>> |> |#{1,3} +|-# +\S| *([-*]|\d+\.) +\S)/;
      const plain = [lines.shift()];
      while (lines.length && !special.test(lines[0])) plain.push(lines.shift());
      out.push(el("p", {}, ...inline(plain.join("\n"), names)));
    }
  }
  return out;
}

// A text as Discord shows it. A fence that is not closed is none.
function rich(text, names) {
  const box = el("div", { className: "text" });
  let rest = text;
  for (;;) {
    const fence = rest.match(/```(?:([\w+#.-]+)\n)?\n?([\s\S]+?)\n?```/);
    const before = (fence ? rest.slice(0, fence.index) : rest).replace(/^\n|\n$/g, "");
    if (before) box.append(...blocks(before, names));
    if (!fence) return box;
    const code = el("pre", { tabIndex: 0 }, el("code", {}, fence[2]));
    if (fence[1]) code.dataset.language = fence[1];
    box.append(code);
    rest = rest.slice(fence.index + fence[0].length);
  }
}
