// What the simulator's page does. It asks for the guild as the chosen person sees it whenever the
// feed says that something changed, and redraws only the messages that differ, so that a text
// being written or a menu being used stays as it is. All text is set as text, never as HTML.
"use strict";
const $ = (id) => document.getElementById(id);
let current = location.hash.slice(1) || null;
let state = { users: [], roles: [], channels: [] };
let replyTo = null;
const drawn = new Map(); // message id → { json, node }

function el(tag, props, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  const text = await answer.text();
  if (answer.ok) return text ? JSON.parse(text) : null;
  let says = text;
  try { says = reasons(JSON.parse(text)); } catch { /* not JSON: shown as it is */ }
  throw new Error(says || answer.statusText);
}

// Discord's refusal with the sentence of each field.
function reasons(refusal) {
  const found = [];
  const walk = (errors, path) => {
    for (const [key, value] of Object.entries(errors ?? {}))
      if (key === "_errors") found.push(`${path.join(".")}: ${value.map((it) => it.message).join(" ")}`);
      else walk(value, [...path, key]);
  };
  walk(refusal.errors, []);
  return [refusal.message, ...found].join("; ");
}

// Does something as the chosen person and says why if it cannot be done.
async function act(path, body) {
  try {
    const answer = await ask(path, { user: $("user").value, ...body });
    $("problem").textContent = "";
    return answer ?? true;
  } catch (error) {
    $("problem").textContent = error.message;
    return null;
  }
}

// Code blocks and `code` as Discord shows them; everything else as it was written.
function rich(text) {
  const box = el("div", { className: "text" });
  for (const [i, part] of text.split(/```(?:[\w+-]*\n)?([\s\S]*?)```\n?/).entries()) {
    if (i % 2) { box.append(el("pre", {}, el("code", {}, part))); continue; }
    for (const [j, bit] of part.split(/`([^`\n]+)`/).entries())
      box.append(j % 2 ? el("code", {}, bit) : document.createTextNode(bit));
  }
  return box;
}

function systemText(m) {
  const said = { 4: `changed the name to “${m.content}”`, 6: "pinned a message", 7: "joined", 18: `started the thread “${m.content}”`, 21: "started this thread" };
  return said[m.kind] ?? `system message ${m.kind} ${m.content}`;
}

function embedNode(embed) {
  const box = el("div", { className: "embed" });
  if (embed.author?.name) box.append(el("div", { className: "note" }, embed.author.name));
  if (embed.title) box.append(el("strong", {}, embed.title));
  if (embed.description) box.append(rich(embed.description));
  const fields = (embed.fields ?? []).map((f) => el("div", { className: f.inline ? "inline" : "" }, el("dt", {}, f.name), el("dd", {}, rich(f.value))));
  if (fields.length) box.append(el("dl", {}, ...fields));
  if (embed.footer?.text) box.append(el("div", { className: "note" }, embed.footer.text));
  return box;
}

const emojiOf = (part) => (part.emoji ? `${part.emoji.name ?? ""} ` : "");

function buttonNode(m, part) {
  const text = emojiOf(part) + (part.label ?? "");
  if (part.style === 5) return el("a", { href: part.url, target: "_blank", rel: "noopener noreferrer" }, `${text} ↗`);
  const press = () => act("/sim/press", { message: m.id, custom_id: part.custom_id });
  const node = el("button", { type: "button", className: `style${part.style}`, disabled: Boolean(part.disabled), onclick: press }, text);
  if (part.custom_id) node.dataset.customId = part.custom_id;
  return node;
}

// What can be chosen in a select menu: its own options, or people, roles, channels.
function optionsOf(part) {
  const people = state.users.map((it) => ({ value: it.id, label: `@${it.name}` }));
  const roles = state.roles.map((it) => ({ value: it.id, label: `role ${it.name}` }));
  const channels = state.channels.map((it) => ({ value: it.id, label: `#${it.name}` }));
  return { 3: part.options, 5: people, 6: roles, 7: [...people, ...roles], 8: channels }[part.type] ?? [];
}

function selectNodes(m, part) {
  const [min, max] = [part.min_values ?? 1, part.max_values ?? 1];
  const several = max > 1 || min === 0;
  const options = optionsOf(part).map((it) => el("option", { value: it.value, title: it.description ?? "", defaultSelected: Boolean(it.default) }, emojiOf(it) + it.label));
  const node = el("select", { disabled: Boolean(part.disabled), multiple: several, title: part.placeholder ?? "", ariaLabel: part.placeholder ?? part.custom_id }, ...options);
  node.dataset.customId = part.custom_id;
  const choose = () => act("/sim/select", { message: m.id, custom_id: part.custom_id, values: [...node.selectedOptions].map((it) => it.value) });
  if (several) return [node, el("button", { type: "button", disabled: node.disabled, onclick: choose }, `Choose (${min} to ${max})`)];
  if (!options.some((it) => it.defaultSelected)) node.prepend(el("option", { value: "", disabled: true, defaultSelected: true }, part.placeholder ?? "Choose…"));
  node.onchange = choose;
  return [node];
}

function rowNode(m, row) {
  const parts = (row.components ?? []).flatMap((part) => (part.type === 2 ? [buttonNode(m, part)] : selectNodes(m, part)));
  return el("div", { className: "row" }, ...parts);
}

function fileNode(file) {
  if (file.image) return el("img", { src: file.url, alt: file.name, title: file.name, loading: "lazy" });
  return el("div", { className: "note" }, "📎 ", el("a", { href: file.url, download: file.name }, file.name), `, ${file.size} bytes`);
}

function reactionNode(m, r) {
  const mine = r.ids.includes($("user").value);
  const toggle = () => act(mine ? "/sim/unreact" : "/sim/react", { message: m.id, emoji: r.emoji });
  return el("button", { type: "button", className: "reaction", ariaPressed: String(mine), title: r.by.join(", "), onclick: toggle }, `${r.emoji} ${r.by.length}`);
}

function editNode(m, node) {
  const text = el("textarea", { value: m.content, rows: 3, maxLength: 4000, ariaLabel: "Edit" });
  const done = () => { drawn.delete(m.id); refresh(); };
  const save = async () => { if (await act("/sim/edit", { message: m.id, text: text.value })) done(); };
  text.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); save(); }
    if (event.key === "Escape") done();
  };
  node.querySelector(".tools").replaceChildren(el("span", { className: "note" }, "Enter saves, Escape leaves"));
  node.append(text);
  text.focus();
}

function reactNode(m) {
  const often = ["⏹️", "✅", "👍", "👀", "🔁"];
  const pick = el("select", { ariaLabel: "React" }, el("option", { value: "" }, "☺"), ...often.map((it) => el("option", {}, it)));
  pick.onchange = () => act("/sim/react", { message: m.id, emoji: pick.value });
  return pick;
}

function toolsNode(m, node) {
  const tools = el("div", { className: "tools" });
  if (m.ephemeral || m.system) return tools;
  const link = (text, onclick) => el("button", { type: "button", className: "link", onclick }, text);
  tools.append(reactNode(m), link("reply", () => answerTo(m)));
  if (m.author_id === $("user").value)
    tools.append(link("edit", () => editNode(m, node)), link("delete", () => act("/sim/delete", { message: m.id })));
  return tools;
}

// What the person is told of the interaction on, or behind, a message.
function outcomeNode(m) {
  if (m.loading) return m.outcome === "failed" ? el("div", { className: "failed" }, "The application did not respond") : el("div", { className: "note" }, `${m.author} is thinking…`);
  if (m.last_use?.outcome === "failed") return el("div", { className: "failed" }, "This interaction failed");
  if (m.last_use?.outcome === "waiting") return el("div", { className: "note" }, "…");
  return "";
}

function messageNode(m) {
  const node = el("article", { id: `m${m.id}` });
  const name = el("h2", { className: m.bot ? "bot" : "" }, m.author);
  const time = el("time", { dateTime: m.at, title: m.at }, new Date(m.at).toLocaleTimeString());
  if (m.system) {
    node.className = "system";
    node.append(name, systemText(m), " ", time);
    return node;
  }
  node.append(name, time);
  if (m.edited) node.append(el("span", { className: "note", title: m.before.join("\n———\n") }, " (edited)"));
  if (m.reply_to) node.append(el("span", { className: "note" }, " in answer to ", el("a", { href: `#m${m.reply_to}`, onclick: (event) => { event.preventDefault(); $(`m${m.reply_to}`)?.scrollIntoView(); } }, m.answers ?? m.reply_to)));
  if (m.content) node.append(rich(m.content));
  node.append(...m.embeds.map(embedNode), ...m.files.map(fileNode), ...m.components.map((row) => rowNode(m, row)), outcomeNode(m));
  const under = el("div", {}, ...m.reactions.map((r) => reactionNode(m, r)));
  if (m.thread && m.thread !== current) under.append(el("button", { type: "button", className: "link", onclick: () => open(m.thread) }, "thread ›"));
  node.append(under, toolsNode(m, node));
  if (m.ephemeral) {
    node.className = "ephemeral";
    node.append(el("div", { className: "note" }, "👁 Only you can see this"));
  }
  return node;
}

function channelButton(c) {
  const mark = c.locked ? "🔒 " : c.parent ? "↳ " : "# ";
  const node = el("button", { title: `${c.name} (${c.id})`, onclick: () => open(c.id) }, mark + c.name);
  node.className = (c.parent ? "thread " : "") + (c.archived ? "archived" : "");
  node.setAttribute("aria-current", String(c.id === current));
  return node;
}

async function showState() {
  state = await ask("/sim/state");
  if (!state.channels.some((c) => c.id === current)) current = state.channels.find((c) => !c.parent)?.id ?? null;
  $("guild").textContent = state.guild;
  const here = state.channels.find((c) => c.id === current);
  $("where").textContent = here ? (here.parent ? "↳ " : "# ") + here.name : "no channel yet";
  const rows = state.channels.filter((c) => !c.parent).flatMap((c) => [c, ...state.channels.filter((t) => t.parent === c.id)]);
  $("channels").replaceChildren(...rows.map(channelButton));
  const names = JSON.stringify(state.users);
  if ($("user").dataset.names === names) return;
  const chosen = $("user").value;
  $("user").dataset.names = names;
  $("user").replaceChildren(...state.users.map((u) => el("option", { value: u.id }, u.name)));
  if (state.users.some((u) => u.id === chosen)) $("user").value = chosen;
}

async function showMessages() {
  const [box, user] = [$("messages"), $("user").value];
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const list = current ? await ask(`/sim/messages/${current}${user && `?user=${user}`}`) : [];
  const nodes = list.map((m) => {
    const json = JSON.stringify([m, user]);
    const before = drawn.get(m.id);
    if (before?.json === json) return before.node;
    const node = messageNode(m);
    drawn.set(m.id, { json, node });
    return node;
  });
  const kept = new Set(list.map((m) => m.id));
  for (const id of drawn.keys()) if (!kept.has(id)) drawn.delete(id);
  // Only what is out of place is moved: moving a menu would close it.
  nodes.forEach((node, i) => { if (box.children[i] !== node) box.insertBefore(node, box.children[i] ?? null); });
  while (box.children.length > nodes.length) box.lastChild.remove();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function inputNode(input) {
  const props = { name: input.custom_id, value: input.value ?? "", placeholder: input.placeholder ?? "", required: input.required, minLength: input.min_length, maxLength: input.max_length };
  const field = el(input.several_lines ? "textarea" : "input", props);
  if (input.several_lines) field.rows = 4;
  return el("label", {}, input.label + (input.required ? " *" : ""), field);
}

async function showModal() {
  const user = $("user").value;
  const [shown] = user ? await ask(`/sim/modals?user=${user}`) : [];
  const dialog = $("modal");
  if (dialog.open && dialog.dataset.interaction !== shown?.interaction) dialog.close();
  if (!shown) return;
  $("modal-problem").textContent = shown.failed ? "Something went wrong. Try again." : "";
  if (dialog.open) return;
  if (dialog.dataset.interaction !== shown.interaction) {
    $("modal-title").textContent = shown.modal.title;
    $("modal-inputs").replaceChildren(...shown.modal.inputs.map(inputNode));
  }
  dialog.dataset.interaction = shown.interaction;
  dialog.showModal();
}

async function submitModal() {
  const fields = [...$("modal-inputs").querySelectorAll("input, textarea")];
  const body = { interaction: $("modal").dataset.interaction, texts: fields.map((it) => [it.name, it.value]) };
  try { await ask("/sim/submit", body); } catch (error) { $("modal-problem").textContent = error.message; }
}

// One refresh at a time; changes that come meanwhile make one more.
let running = false, again = false;
async function refresh() {
  if (running) { again = true; return; }
  running = true;
  try {
    do { again = false; await showState(); await showMessages(); await showModal(); } while (again);
  } catch (error) {
    $("problem").textContent = error.message;
  }
  running = false;
}

function open(id) {
  current = id;
  history.replaceState(null, "", `#${id}`);
  answerTo(null);
  refresh();
}

function answerTo(m) {
  replyTo = m?.id ?? null;
  $("reply").hidden = !m;
  if (m) $("reply").replaceChildren(`answering ${m.author} (${m.id}) `, el("button", { type: "button", className: "link", onclick: () => answerTo(null) }, "leave"));
}

async function send() {
  const text = $("text").value;
  if (!text || !current) return;
  if (await act("/sim/say", { channel: current, text, reply_to: replyTo })) {
    $("text").value = "";
    answerTo(null);
  }
}

$("form").onsubmit = (event) => { event.preventDefault(); send(); };
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
};
$("user").onchange = refresh;
$("modal-form").onsubmit = (event) => { event.preventDefault(); submitModal(); };
const closeModal = () => act("/sim/close", { interaction: $("modal").dataset.interaction });
$("modal-cancel").onclick = closeModal;
$("modal").oncancel = (event) => { event.preventDefault(); closeModal(); };
const feed = new EventSource("/sim/events");
feed.onopen = () => { $("live").textContent = "live"; };
feed.onerror = () => { $("live").textContent = "reconnecting…"; };
feed.onmessage = refresh;
refresh();
