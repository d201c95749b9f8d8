// What the simulator's page does. It asks for the guild as the chosen person sees it whenever the
// feed says that something changed, and redraws only the messages that differ, so that a text
// being written or a menu being used stays as it is. Who the person is, each tab remembers by
// itself: `?as=bob` begins as bob.
"use strict";
const $ = (id) => document.getElementById(id);
let current = location.hash.slice(1) || null;
let wanted = new URLSearchParams(location.search).get("as");
let state = { users: [], roles: [], channels: [] };
let replyTo = null;
const drawn = new Map(); // message id → { json, node }
const me = () => $("user").value;
const here = () => state.channels.find((it) => it.id === current);

async function ask(path, body) {
  const isForm = body instanceof FormData;
  const options = body && { method: "POST", headers: isForm ? {} : { "Content-Type": "application/json" }, body: isForm ? body : JSON.stringify(body) };
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
async function act(path, body, files = []) {
  try {
    const says = { user: me(), ...body };
    const form = new FormData();
    form.append("payload_json", JSON.stringify(says));
    for (const [i, file] of files.entries()) form.append(`files[${i}]`, file, file.name);
    const answer = await ask(path, files.length ? form : says);
    $("problem").textContent = "";
    return answer ?? true;
  } catch (error) {
    $("problem").textContent = error.message;
    return null;
  }
}

const plainButton = (text, onclick) => el("button", { type: "button", className: "link", onclick }, text);

// Who or where a number in a text is.
function nameOf(kind, id) {
  if (kind === "#") return `#${state.channels.find((it) => it.id === id)?.name ?? "unknown"}`;
  const found = (kind === "@&" ? state.roles : [...state.users, ...state.bots]).find((it) => it.id === id);
  return `@${found?.name ?? "unknown"}`;
}

function systemText(m) {
  const said = { 4: `changed the name to “${m.content}”`, 6: "pinned a message", 7: "joined", 18: `started the thread “${m.content}”`, 21: "started this thread" };
  return said[m.kind] ?? `system message ${m.kind} ${m.content}`;
}

function embedNode(embed) {
  const box = el("div", { className: "embed" });
  if (embed.color) box.style.borderLeftColor = `#${embed.color.toString(16).padStart(6, "0")}`;
  const titled = (text, address) => (/^https?:/.test(address ?? "") ? link(address, text) : text);
  if (embed.author?.name) box.append(el("div", { className: "note" }, titled(embed.author.name, embed.author.url)));
  if (embed.title) box.append(el("strong", {}, titled(embed.title, embed.url)));
  if (embed.description) box.append(rich(embed.description, nameOf));
  const fields = (embed.fields ?? []).map((f) => el("div", { className: f.inline ? "inline" : "" }, el("dt", {}, f.name), el("dd", {}, rich(f.value, nameOf))));
  if (fields.length) box.append(el("dl", {}, ...fields));
  if (embed.footer?.text) box.append(el("div", { className: "note" }, embed.footer.text));
  return box;
}

const emojiOf = (part) => (part.emoji ? `${part.emoji.name ?? ""} ` : "");

function buttonNode(m, part) {
  const text = (emojiOf(part) + (part.label ?? "")).trim();
  if (part.style === 5) return link(part.url, `${text} ↗`);
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

// What is ticked in a list of boxes and not handed in yet: a message is drawn anew when anything of it changes.
const ticked = new Map();

// A menu of which one is chosen is a menu here too; one of several is a list of boxes.
function menuNode(m, part) {
  const [min, max] = [part.min_values ?? 1, part.max_values ?? 1];
  const title = part.placeholder || "Make a selection";
  const choose = (values) => act("/sim/select", { message: m.id, custom_id: part.custom_id, values });
  const named = (it) => emojiOf(it) + it.label;
  if (min === 1 && max === 1) {
    const options = optionsOf(part).map((it) => el("option", { value: it.value, defaultSelected: Boolean(it.default) }, named(it) + (it.description ? ` — ${it.description}` : "")));
    const node = el("select", { disabled: Boolean(part.disabled), ariaLabel: title }, ...options);
    if (!options.some((it) => it.defaultSelected)) node.prepend(el("option", { value: "", disabled: true, defaultSelected: true }, title));
    node.onchange = () => choose([node.value]);
    node.dataset.customId = part.custom_id;
    return node;
  }
  const list = `${m.id} ${part.custom_id}`;
  const before = ticked.get(list);
  const boxes = optionsOf(part).map((it) => el("input", { type: "checkbox", value: it.value, defaultChecked: before ? before.includes(it.value) : Boolean(it.default) }));
  const lines = optionsOf(part).map((it, i) => el("label", {}, boxes[i], el("span", {}, named(it), it.description ? el("small", { className: "note" }, ` ${it.description}`) : "")));
  const chosen = () => boxes.filter((it) => it.checked).map((it) => it.value);
  const done = el("button", { type: "button", className: "style1", onclick: () => { ticked.delete(list); choose(chosen()); } }, "Choose");
  const count = () => { const many = chosen().length; done.disabled = Boolean(part.disabled) || many < min || max < many; };
  const node = el("fieldset", { disabled: Boolean(part.disabled), onchange: () => { ticked.set(list, chosen()); count(); } }, el("legend", {}, `${title} (${min} to ${max})`), ...lines, done);
  node.dataset.customId = part.custom_id;
  count();
  return node;
}

function rowNode(m, row) {
  return el("div", { className: "row" }, ...(row.components ?? []).map((part) => (part.type === 2 ? buttonNode(m, part) : menuNode(m, part))));
}

const sizeOf = (bytes) => (bytes < 1024 ? `${bytes} bytes` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1048576).toFixed(1)} MB`);

function fileNode(file) {
  if (file.image) return el("img", { src: file.url, alt: file.name, title: file.name, loading: "lazy" });
  return el("div", { className: "file" }, "📎 ", el("a", { href: file.url, download: file.name }, file.name), el("span", { className: "note" }, ` ${sizeOf(file.size)}`));
}

function reactionNode(m, r) {
  const mine = r.ids.includes(me());
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
  const [inChannel, isStarter] = [here() && !here().parent, m.id === current];
  const begin = async () => { const begun = await act("/sim/start", { message: m.id, name: m.content.slice(0, 40) || "a thread" }); if (begun?.id) open(begun.id); };
  tools.append(reactNode(m));
  if (!isStarter) tools.append(plainButton("reply", () => answerTo(m)));
  if (inChannel && !m.thread) tools.append(plainButton("start thread", begin));
  if (m.author_id === me()) tools.append(plainButton("edit", () => editNode(m, node)), plainButton("delete", () => act("/sim/delete", { message: m.id })));
  return tools;
}

// What the person is told of the interaction on, or behind, a message.
function outcomeNode(m) {
  if (m.loading) return m.outcome === "failed" ? el("div", { className: "failed" }, "The application did not respond") : el("div", { className: "note" }, `${m.author} is thinking…`);
  if (m.last_use?.outcome === "failed") return el("div", { className: "failed" }, "This interaction failed");
  if (m.last_use?.outcome === "waiting") return el("div", { className: "note" }, "…");
  return "";
}

// The message that is answered, in a line above.
function quoteNode(m) {
  const go = (event) => { event.preventDefault(); $(`m${m.reply_to}`)?.scrollIntoView(); };
  const said = (m.answers ?? "a message that is not here").replace(/[*_~`|]+|^[#>-]+ /gm, "");
  return el("a", { className: "quote", href: `#m${m.reply_to}`, onclick: go }, `↱ ${said}`);
}

function faceNode(m) {
  const face = el("span", { className: "face", ariaHidden: "true" }, [...m.author][0]?.toUpperCase() ?? "?");
  face.style.setProperty("--hue", m.bot ? 235 : Number(BigInt(m.author_id) % 360n));
  return face;
}

function messageNode(m) {
  // A thread begins with the message that it was started from, as it is now.
  if (m.starter) return messageNode(m.starter);
  const node = el("article", { id: `m${m.id}` });
  const name = el("h2", { className: m.bot ? "bot" : "" }, m.author);
  const time = el("time", { dateTime: m.at, title: m.at }, new Date(m.at).toLocaleTimeString(undefined, { timeStyle: "short" }));
  if (m.system) {
    node.className = "system";
    node.append(name, systemText(m), " ", time);
    return node;
  }
  node.append(...(m.reply_to ? [quoteNode(m)] : []), faceNode(m), name, m.bot ? el("span", { className: "tag" }, "APP") : "", time);
  if (m.edited) node.append(el("span", { className: "note", title: m.before.join("\n———\n") }, " (edited)"));
  if (m.content) node.append(rich(m.content, nameOf));
  node.append(...m.embeds.map(embedNode), ...m.files.map(fileNode), ...m.components.map((row) => rowNode(m, row)), outcomeNode(m));
  const under = el("div", {}, ...m.reactions.map((r) => reactionNode(m, r)));
  const thread = m.thread && m.thread !== current && state.channels.find((it) => it.id === m.thread);
  if (thread) under.append(el("button", { type: "button", className: "branch", onclick: () => open(m.thread) }, `${thread.name} ›`, el("span", { className: "note" }, ` ${marksOf(thread)}`)));
  node.append(under, toolsNode(m, node));
  if (m.ephemeral) {
    node.className = "ephemeral";
    node.append(el("div", { className: "note" }, "👁 Only you can see this"));
  }
  return node;
}

const marksOf = (c) => [c.locked && "🔒 locked", c.archived && "🗄 archived"].filter(Boolean).join(" ");

function channelButton(c) {
  const mark = c.locked ? "🔒 " : c.parent ? "↳ " : "# ";
  const node = el("button", { title: `${c.name} (${c.id})`, onclick: () => open(c.id) }, mark + c.name);
  node.className = (c.parent ? "thread " : "") + (c.archived ? "archived" : "");
  node.setAttribute("aria-current", String(c.id === current));
  return node;
}

function showHeader() {
  const place = here();
  $("where").textContent = place ? (place.parent ? "↳ " : "# ") + place.name : "no channel yet";
  $("marks").textContent = place ? marksOf(place) : "";
  $("tools").hidden = !place?.parent;
  $("archive").textContent = place?.archived ? "unarchive" : "archive";
  if (!place?.parent) $("name-form").hidden = true;
  $("lock").textContent = place?.locked ? "unlock" : "lock";
  const typing = place?.typing ?? [];
  $("typing").textContent = typing.length ? `${typing.map((it) => it.name).join(", ")} ${typing.length > 1 ? "are" : "is"} typing…` : "";
  clearTimeout(showHeader.later);
  if (typing.length) showHeader.later = setTimeout(refresh, Math.min(...typing.map((it) => it.left_ms)) + 50);
}

// Who acts here, with the roles that can be given and taken.
function showPeople() {
  const names = JSON.stringify([state.users, state.roles]);
  if ($("user").dataset.names === names) return;
  const before = me();
  $("user").dataset.names = names;
  const rolesOf = (u) => state.roles.filter((it) => u.roles.includes(it.id)).map((it) => it.name);
  const named = (u) => u.name + (u.roles.length ? ` (${rolesOf(u).join(", ")})` : "");
  $("user").replaceChildren(...state.users.map((u) => el("option", { value: u.id }, named(u))));
  const chosen = state.users.find((u) => u.name === wanted || u.id === wanted) ?? state.users.find((u) => u.id === before);
  if (chosen) { $("user").value = chosen.id; wanted = null; }
  showRoles();
}

function showRoles() {
  const own = state.users.find((it) => it.id === me())?.roles ?? [];
  const box = (role) => {
    const node = el("input", { type: "checkbox", checked: own.includes(role.id) });
    node.onchange = () => act("/sim/role", { role: role.name, has: node.checked });
    return el("label", {}, node, role.name);
  };
  $("roles").replaceChildren(...state.roles.filter((it) => it.name !== "@everyone").map(box));
}

async function showState() {
  const viewer = me();
  state = await ask(`/sim/state${viewer && `?user=${viewer}`}`);
  showPeople();
  // What somebody else sees was asked for.
  if (me() !== viewer) again = true;
  if (!here()) current = state.channels.find((c) => !c.parent)?.id ?? null;
  $("guild").textContent = state.guild;
  showHeader();
  const rows = state.channels.filter((c) => !c.parent).flatMap((c) => [c, ...state.channels.filter((t) => t.parent === c.id)]);
  $("channels").replaceChildren(...rows.map(channelButton));
}

async function showMessages() {
  const [box, user] = [$("messages"), me()];
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40 || box.dataset.of !== current;
  box.dataset.of = current;
  const list = current ? await ask(`/sim/messages/${current}${user && `?user=${user}`}`) : [];
  const nodes = list.map((m) => {
    const thread = state.channels.find((it) => it.id === m.thread);
    const json = JSON.stringify([m, user, thread?.name, thread && marksOf(thread)]);
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
  field.setAttribute("aria-label", input.label);
  return el("label", {}, input.label + (input.required ? " *" : ""), field);
}

async function showModal() {
  const user = me();
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

// One refresh at a time; changes that come meanwhile make one more, also where this one fails: what it
// asked for may just have gone.
let running = false, again = false;
async function refresh() {
  if (running) { again = true; return; }
  running = true;
  let problem;
  do {
    [again, problem] = [false, null];
    try { await showState(); await showMessages(); await showModal(); } catch (error) { problem = error.message; }
  } while (again);
  if (problem) $("problem").textContent = problem;
  running = false;
}

// What is pressed may be drawn anew before the mouse is let go, and then the browser tells of no click: it
// counts for what stands in its place.
const pressable = (event) => event.target.closest?.("button, label");
const sameAs = (node) => [node.closest("article")?.id, node.dataset.customId ?? node.title, node.textContent].join();
let pressed = null;
document.addEventListener("pointerdown", (event) => { pressed = pressable(event); }, true);
document.addEventListener("pointerup", (event) => {
  const [before, over] = [pressed, pressable(event)];
  pressed = null;
  if (before && over && !before.isConnected && sameAs(before) === sameAs(over)) over.click();
}, true);

function open(id) {
  current = id;
  history.replaceState(null, "", `#${id}`);
  $("name-form").hidden = true;
  answerTo(null);
  refresh();
}

function answerTo(m) {
  replyTo = m?.id ?? null;
  $("reply").hidden = !m;
  if (m) $("reply").replaceChildren(`answering ${m.author} `, plainButton("leave", () => answerTo(null)));
  if (m) $("text").focus();
}

async function send() {
  const [text, files] = [$("text").value, [...$("files").files]];
  if ((!text && !files.length) || !current) return;
  if (await act("/sim/say", { channel: current, text, reply_to: replyTo }, files)) {
    $("text").value = "";
    $("files").value = "";
    answerTo(null);
  }
}

// A form in which one thing is written, and what is then done.
function oneField(form, field, done) {
  $(form).onsubmit = async (event) => { event.preventDefault(); if (await done($(field).value)) $(field).value = ""; };
}

$("form").onsubmit = (event) => { event.preventDefault(); send(); };
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
};
$("text").onpaste = (event) => { if (event.clipboardData.files.length) $("files").files = event.clipboardData.files; };
$("user").onchange = () => {
  sessionStorage.setItem("user", me());
  history.replaceState(null, "", location.pathname + location.hash);
  showRoles();
  refresh();
};
wanted ??= sessionStorage.getItem("user");
const change = (what) => act("/sim/thread", { channel: current, ...what });
$("rename").onclick = () => { $("name").value = here().name; $("name-form").hidden = false; $("name").focus(); };
oneField("name-form", "name", async (name) => { const done = await change({ name }); $("name-form").hidden = Boolean(done); return done; });
$("archive").onclick = () => change({ archived: !here().archived });
$("lock").onclick = () => change({ locked: !here().locked });
$("remove").onclick = () => act("/sim/remove", { channel: current });
oneField("role-form", "role", (role) => act("/sim/role", { role, has: true }));
oneField("join-form", "join", (name) => act("/sim/join", { name }));
$("modal-form").onsubmit = (event) => { event.preventDefault(); submitModal(); };
const closeModal = () => act("/sim/close", { interaction: $("modal").dataset.interaction });
$("modal-cancel").onclick = closeModal;
$("modal").oncancel = (event) => { event.preventDefault(); closeModal(); };
setInterval(() => { for (const it of document.querySelectorAll("time[data-seconds]")) it.textContent = away(Number(it.dataset.seconds)); }, 5000);
const feed = new EventSource("/sim/events");
feed.onopen = () => { $("live").textContent = "live"; };
feed.onerror = () => { $("live").textContent = "reconnecting…"; };
feed.onmessage = refresh;
refresh();
