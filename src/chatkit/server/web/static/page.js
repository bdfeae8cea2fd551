// A small chat page over chatkit's protocol. What people wrote reaches the page as text nodes, never as HTML.
"use strict";

const KEEP = 500; // lines shown of a room
const HISTORY = 50; // messages fetched on entering one
const DEFAULT_ROOM = "general";
const GONE = { kind: "message removed", text: "(removed)" }; // stands where a message was
const PATIENCE = 10_000; // milliseconds for a server to say hello
const LONGEST_WAIT = 30_000; // milliseconds between two tries to come back
const FINAL = [1000, 4403, 4409]; // close codes after which one does not come back
const LATER = ["rate_limited", "storage_unavailable", "internal_error"]; // refusals that are worth another try
const RUN = Math.random().toString(36).slice(2) || "0"; // with which this page numbers its logins
const OWN = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;

let session = null; // who is here, or null: address, user, token, rooms, outbox, heard (rooms since a list began)
let socket = null;
let calls = new Map(); // requests that wait for their reply, by ref
let refs = 0;
let current = DEFAULT_ROOM;
let attempt = 0;
let timer = 0;
let listDue = false;

const $ = (id) => document.getElementById(id);

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What is remembered here; without storage the page works all the same.
function recall(key) {
  try {
    return localStorage.getItem(`chatkit.${key}`);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(`chatkit.${key}`);
    else localStorage.setItem(`chatkit.${key}`, value);
  } catch {
    // nothing is remembered then
  }
}

// ── the link ────────────────────────────────────────────────────────────────────────────────────────────────────────

function open() {
  clearTimeout(timer);
  let ws;
  try {
    ws = new WebSocket(session.address, "chatkit.v1.json");
  } catch {
    return stop(`${session.address} cannot be connected to from this page`);
  }
  socket = ws;
  timer = setTimeout(() => ws.close(), PATIENCE);
  ws.onmessage = (event) => {
    if (ws === socket) heard(event.data);
  };
  ws.onclose = (event) => {
    if (ws === socket) lost(event);
  };
}

function heard(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return stop(`what answers at ${session.address} is no chatkit server`);
  }
  if (message.action !== "hello") return receive(message);
  clearTimeout(timer);
  if (message.data.protocol !== 1) return stop(`${session.address} speaks another version of the protocol`);
  session.welcomed = true;
  login();
}

function lost(event) {
  clearTimeout(timer);
  socket = null;
  const waiting = [...calls.values()];
  calls.clear();
  for (const call of waiting) call.fail({ code: "disconnected", message: "the connection was lost" });
  if (session.token && !FINAL.includes(event.code)) return again(event.reason);
  if (session.welcomed) return stop(event.reason || "the server closed the connection");
  stop(`nobody answers at ${session.address}, or not to this page`);
}

function again(reason) {
  const wait = Math.random() * Math.min(LONGEST_WAIT, 500 * 2 ** attempt);
  attempt += 1;
  $("status").textContent = `${reason || "connection lost"}, trying again …`;
  clearTimeout(timer);
  timer = setTimeout(open, wait);
}

function stop(problem) {
  clearTimeout(timer);
  const ws = socket;
  socket = null;
  session = null;
  calls.clear();
  if (ws) ws.close(1000);
  $("chat").hidden = true;
  $("connect").hidden = false;
  $("problem").textContent = problem || "";
  $("name").focus();
}

function ask(action, data) {
  return new Promise((done, fail) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return fail({ code: "disconnected", message: "not connected" });
    refs += 1;
    calls.set(refs, { done, fail });
    socket.send(JSON.stringify({ action, ref: refs, data }));
  });
}

// ── logging in, and again after a loss ──────────────────────────────────────────────────────────────────────────────

async function login() {
  const mine = session;
  const data = { user: mine.user, attempt: { client: RUN, number: refs } };
  if (mine.token || mine.remembered) data.token = mine.token || mine.remembered;
  if (mine.token) {
    data.resume = {};
    for (const room of mine.rooms.values()) {
      if (room.joined) data.resume[room.name] = { epoch: room.epoch, seq: room.seq };
    }
  }
  try {
    const first = !mine.token;
    const reply = await ask("login", data);
    if (session !== mine) return;
    const here = mine.rooms.get(current);
    const inside = here && here.joined;
    welcome(reply);
    const out = inside && !here.joined;
    await listRooms();
    hearSilence();
    if (first) await enter(home());
    else if (out) await turnedOut(here, `you are no longer in ${here.name}`);
    for (const item of [...mine.outbox]) deliver(item);
    draw();
  } catch (error) {
    if (session !== mine || error.code === "disconnected") return;
    if (mine.token && LATER.includes(error.code)) socket.close(4000); // and come back later
    else stop(error.message);
  }
}

function welcome(reply) {
  const was = callAnew(reply.rooms);
  const resumed = reply.resume || {};
  attempt = 0;
  called(reply.user);
  session.token = reply.token;
  remember(`token ${session.address}`, reply.token);
  for (const room of session.rooms.values()) room.joined = false;
  for (const summary of reply.rooms) {
    const room = update(summary);
    room.joined = true;
    if (room.epoch !== summary.epoch || resumed[was.get(room) ?? room.name] === "reset") restart(room, summary);
  }
  $("connect").hidden = true;
  $("chat").hidden = false;
  $("status").textContent = "";
}

// The list is complete: a room one is not in, and of which nothing was heard since it began, one may not know of.
async function listRooms() {
  const mine = session;
  const heard = (mine.heard = new Set());
  let after, page;
  do {
    page = await ask("list_rooms", after === undefined ? {} : { after });
    if (session !== mine) return;
    page.rooms.forEach(update);
    after = page.rooms.at(-1)?.room;
  } while (page.more);
  if (mine.heard !== heard) return; // a newer list is on its way
  for (const room of [...mine.rooms.values()]) {
    if (!room.joined && !heard.has(room)) mine.rooms.delete(room.name);
  }
}

// A room's log is another one, or has a gap: begin anew with what is there.
function restart(room, summary) {
  begin(room, summary.epoch, summary.head);
  if (room.name === current) fetchHistory(room);
}

// Rooms that were renamed while one was away; returns what they were called. A log is known by its epoch.
function callAnew(summaries) {
  const joined = [...session.rooms.values()].filter((room) => room.joined);
  const known = new Map(joined.map((room) => [room.epoch, room]));
  const names = new Map(summaries.map((summary) => [known.get(summary.epoch), summary.room]));
  return goOnAs(new Map([...names].filter(([room, name]) => room && room.name !== name)));
}

// ── what is known ───────────────────────────────────────────────────────────────────────────────────────────────────

function update(summary) {
  let room = session.rooms.get(summary.room);
  if (!room) {
    room = { name: summary.room, joined: false, unread: false };
    begin(room, summary.epoch, summary.head);
    session.rooms.set(summary.room, room);
  }
  session.heard.add(room);
  room.users = summary.users;
  room.topic = summary.topic;
  room.private = summary.private;
  room.readOnly = Boolean(summary.read_only);
  room.slow = summary.slow || 0;
  return room;
}

// Nothing of a room is held yet. `removed`: messages that were removed before they came; `muted`: what was told of a mute.
function begin(room, epoch, seq) {
  Object.assign(room, { epoch, seq, lines: [], removed: new Set(), muted: null });
}

// Where one is who has gone nowhere.
function home() {
  if (session.rooms.has(DEFAULT_ROOM)) return DEFAULT_ROOM;
  return [...session.rooms.values()].find((room) => room.joined)?.name ?? DEFAULT_ROOM;
}

function called(user) {
  session.user = user;
  remember("name", user);
  $("me").textContent = `You are ${user}`;
}

function receive(message) {
  const data = message.data;
  if (message.action === "success" || message.action === "error") return answered(message);
  const room = data.room === undefined ? undefined : session.rooms.get(data.room);
  switch (message.action) {
    case "room_created":
      update(data);
      break;
    case "room_updated":
      updated(room, data);
      break;
    case "room_renamed":
      renamed(data);
      break;
    case "room_deleted":
      session.rooms.delete(data.room);
      if (room && room.joined) turnedOut(room, `${room.name} was deleted`);
      break;
    case "removed_from_room":
      if (room) sentOut(room, data);
      break;
    case "invited":
      update(data);
      notice(current, `you were invited: you may enter ${data.room} now`);
      break;
    case "muted":
      if (room) mute(room, data);
      break;
    case "unmuted":
      if (room) unmute(room);
      break;
    case "role_changed":
      notice(data.room, `${data.user === session.user ? "you are" : `${data.user} is`} ${data.role} here now`);
      break;
    case "user_joined":
    case "user_left":
      if (room) room.users = data.users;
      notice(data.room, `${data.user} ${message.action === "user_left" ? "left" : "joined"}`);
      break;
    case "user_renamed":
      if (data.was === session.user) called(data.user);
      notice(current, `${data.was} is now ${data.user}`);
      break;
    case "system":
      notice(current, data.text);
      break;
    default:
      if (room && room.joined && Number.isInteger(data.seq)) take(room, message);
  }
  drawRooms();
}

function answered(message) {
  const call = calls.get(message.ref);
  calls.delete(message.ref);
  if (!call) return;
  if (message.action === "success") call.done(message.data);
  else call.fail(message.data);
}

// An entry of a room's log, live: each seq once, in order.
function take(room, message) {
  if (message.data.seq <= room.seq) return;
  room.seq = message.data.seq;
  settle(message.data.op);
  if (message.action === "message_deleted") return clear(room, message.data.about);
  const line = lineOf(message);
  if (line) add(room, line);
}

// What a message said is gone; it keeps its place.
function clear(room, seq) {
  const line = room.lines.find((one) => one.seq === seq);
  if (!line) return void room.removed.add(seq); // perhaps it is on its way here, read before
  Object.assign(line, GONE);
  if (room.name === current) line.node.replaceWith(row(line));
}

function lineOf({ data, timestamp }) {
  if (data.deleted) return { ...GONE, seq: data.seq, user: data.user, at: Date.parse(timestamp) };
  const text = data.text ?? (data.binary === undefined ? undefined : `[${Math.floor((data.binary.length * 3) / 4)} bytes]`);
  if (text === undefined) return null;
  return { kind: "message", seq: data.seq, user: data.user, text, at: Date.parse(timestamp) };
}

function add(room, line) {
  room.lines.push(line);
  if (room.lines.length > KEEP) room.lines.shift();
  if (room.name === current) show(line);
  else if (line.kind === "message") room.unread = true;
}

function notice(name, text) {
  const room = session.rooms.get(name);
  if (room) add(room, { kind: "notice", text, at: Date.now() });
}

function because(by, reason) {
  return `${by ? `, by ${by}` : ""}${reason ? `: ${reason}` : ""}`;
}

function problem(text) {
  const room = session && session.rooms.get(current);
  if (room) add(room, { kind: "failed", text, at: Date.now() });
}

// Put what was said before in front of what is there already.
function prepend(room, events) {
  const known = new Set(room.lines.map((line) => line.seq));
  const past = events.filter((event) => event.data.seq <= room.seq);
  for (const event of past) settle(event.data.op);
  const older = past.map(lineOf).filter((line) => line && !known.has(line.seq));
  for (const line of older) if (room.removed.has(line.seq)) Object.assign(line, GONE);
  room.lines = [...older, ...room.lines].slice(-KEEP);
}

async function fetchHistory(room) {
  try {
    prepend(room, (await ask("history", { room: room.name, limit: HISTORY })).events);
    if (room.name === current) draw();
  } catch {
    // the next login tries again
  }
}

// ── what others do to a room, and to oneself in it ──────────────────────────────────────────────────────────────────

function renamed({ room: name, was }) {
  const room = session.rooms.get(was);
  if (room && name !== was) goOnAs(new Map([[room, name]]));
}

// Rooms go on under other names: what is held of them, what is on its way there, and who looks at them.
function goOnAs(names) {
  const here = session.rooms.get(current);
  const was = new Map([...names.keys()].map((room) => [room, room.name]));
  for (const room of names.keys()) session.rooms.delete(room.name);
  for (const [room, name] of names) {
    room.name = name;
    session.rooms.set(name, room);
    session.heard.add(room);
  }
  if (here) current = here.name;
  for (const [room, name] of was) notice(room.name, `${name} is called ${room.name} now`);
  return was;
}

function updated(before, summary) {
  const { topic, readOnly, slow } = before || {};
  const room = update(summary);
  if (!room.joined) return;
  const tell = (text) => notice(room.name, text);
  if (room.topic !== topic) tell(room.topic ? `the topic is now: ${room.topic}` : "there is no topic any more");
  if (room.readOnly !== readOnly) tell(`${room.readOnly ? "only moderators" : "members, too,"} may speak here now`);
  if (room.slow !== slow) tell(room.slow ? `slow mode: one message every ${room.slow} s` : "slow mode is off");
}

// Whoever looks at a room that is none of theirs any more goes where everybody starts, and reads there why.
async function turnedOut(room, why) {
  const mine = session;
  room.joined = false;
  const start = home();
  if (room.name === current && current !== start) {
    current = start;
    draw();
    await enter(start);
  }
  if (session === mine) notice(current, why);
}

function sentOut(room, { by, reason, banned }) {
  turnedOut(room, `you were ${banned ? "banned from" : "sent out of"} ${room.name}${because(by, reason)}`);
  // Whether one may still know of a private room only the list tells; if it cannot be had now, the next login has it.
  if (room.private) listRooms().then(drawRooms, () => {});
}

// A server tells of a mute on every link, people are told once.
function mute(room, { by, reason, until }) {
  const mark = JSON.stringify([by, reason, until]);
  const told = room.muted?.mark === mark;
  room.muted = { mark, until, link: socket };
  if (told) return;
  const end = until ? ` until ${new Date(until).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}` : "";
  notice(room.name, `you may not speak here${end}${because(by, reason)}`);
}

function unmute(room) {
  room.muted = null;
  notice(room.name, "you may speak here again");
}

// Of a mute that was lifted while one was away nothing is told.
function hearSilence() {
  for (const room of session.rooms.values()) {
    if (!room.joined || !room.muted || room.muted.link === socket) continue;
    if (room.muted.until && room.muted.until <= Date.now()) room.muted = null; // its end was told with it
    else unmute(room);
  }
}

// ── doing ───────────────────────────────────────────────────────────────────────────────────────────────────────────

async function enter(name) {
  const mine = session;
  try {
    const before = mine.rooms.get(name);
    const fetched = before && before.joined && before.lines.some((line) => line.kind === "message");
    const reply = await ask("join_room", fetched ? { room: name } : { room: name, last: HISTORY });
    if (session !== mine) return;
    const room = update(reply);
    if (!room.joined) {
      room.joined = true;
      begin(room, reply.epoch, reply.events.length ? reply.events.at(-1).data.seq : reply.head);
    }
    prepend(room, reply.events);
    room.unread = false;
    current = reply.room;
    draw();
  } catch (error) {
    problem(error.message);
  }
}

function say(text) {
  const room = session.rooms.get(current);
  if (!room) return;
  const item = { op: random(), room, text, node: null };
  session.outbox.push(item);
  showPending(item);
  bottom();
  deliver(item);
}

async function deliver(item) {
  const mine = session;
  const { room } = item;
  const { name } = room;
  try {
    const reply = await ask("send_message", { room: name, text: item.text, op: item.op });
    if (!room.joined || reply.seq <= room.seq) settle(item.op); // shown already, or never here: one was sent out
  } catch (error) {
    if (session !== mine || error.code === "disconnected") return;
    if (room.name !== name) return deliver(item); // it was renamed meanwhile
    if (LATER.includes(error.code)) {
      setTimeout(() => session === mine && mine.outbox.includes(item) && deliver(item), 1000 * (error.retry_after || 1));
      return;
    }
    settle(item.op);
    problem(error.message);
  }
}

// A message of one's own has arrived in the log, or never will.
function settle(op) {
  const at = session.outbox.findIndex((item) => item.op === op);
  if (at < 0) return;
  const [item] = session.outbox.splice(at, 1);
  item.node?.remove();
}

const COMMANDS = {
  join: (room) => enter(room),
  async create(room) {
    await ask("create_room", { room });
    await enter(room);
  },
  async leave() {
    if (current === home()) return problem(`${current} is where everybody starts`);
    const left = session.rooms.get(current);
    await ask("leave_room", { room: left.name });
    left.joined = false;
    await enter(home());
  },
  rooms() {
    notice(current, [...session.rooms.values()].map((room) => `${room.name} (${room.users})`).join(", "));
  },
  async users() {
    const page = await ask("list_users", { room: current });
    notice(current, page.users.map((user) => user.user).join(", "));
  },
  async username(user) {
    called((await ask("rename", { user })).user);
  },
  help() {
    notice(current, "/join room, /create room, /leave, /rooms, /users, /username name, /quit");
  },
  quit: () => stop(),
};

async function command(line) {
  const [name, ...rest] = line.slice(1).split(/\s+/);
  if (!Object.hasOwn(COMMANDS, name)) return problem(`there is no /${name}; /help lists the commands`);
  try {
    await COMMANDS[name](rest.join(" "));
  } catch (error) {
    problem(error.message);
  }
}

// ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function row(line) {
  const item = make("li", undefined, line.kind);
  item.append(make("time", new Date(line.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
  if (line.user !== undefined) item.append(make("b", line.user));
  item.append(make("bdi", line.text));
  line.node = item;
  return item;
}

function bottom() {
  $("log").scrollTop = $("log").scrollHeight;
}

function show(line) {
  const log = $("log");
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const pending = session.outbox.find((item) => item.node?.parentNode === log);
  log.insertBefore(row(line), pending ? pending.node : null);
  while (log.children.length > KEEP + session.outbox.length) log.firstChild.remove();
  if (follows) bottom();
}

function showPending(item) {
  item.node = row({ kind: "pending", user: session.user, text: item.text, at: Date.now() });
  $("log").append(item.node);
}

// The list of rooms and the title of the current one, soon: many changes are drawn once.
function drawRooms() {
  if (listDue) return;
  listDue = true;
  setTimeout(() => {
    listDue = false;
    if (session) drawRoomsNow();
  }, 50);
}

function drawRoomsNow() {
  const here = session.rooms.get(current);
  $("title").textContent = here && here.topic ? `${current}: ${here.topic}` : current;
  const rooms = [...session.rooms.values()].sort((a, b) => a.name.localeCompare(b.name));
  $("rooms").replaceChildren(
    ...rooms.map((room) => {
      const item = make("li");
      const button = make("button", undefined, room.unread ? "unread" : "");
      button.append(make("bdi", room.name), ` (${room.users})`);
      button.type = "button";
      button.title = room.topic || "";
      if (room.name === current) button.setAttribute("aria-current", "true");
      button.onclick = () => enter(room.name);
      item.append(button);
      return item;
    }),
  );
}

function draw() {
  if (!session) return;
  const room = session.rooms.get(current);
  $("me").textContent = `You are ${session.user}`;
  $("log").replaceChildren(...(room ? room.lines.map(row) : []));
  for (const item of session.outbox) if (item.room === room) showPending(item);
  drawRoomsNow();
  bottom();
}

// ── the beginning ───────────────────────────────────────────────────────────────────────────────────────────────────

$("address").value = recall("address") || OWN;
$("name").value = recall("name") || "";
if ($("name").value) $("connect").querySelector("button").focus();
else $("name").focus();

$("connect").onsubmit = (event) => {
  event.preventDefault();
  const address = $("address").value.trim();
  const user = $("name").value.trim();
  if (!/^wss?:\/\/[^/]/i.test(address)) {
    $("problem").textContent = "An address begins with ws:// or wss://, and a host follows.";
    return;
  }
  remember("address", address === OWN ? null : address);
  // A token is only ever shown to the server it came from.
  const remembered = recall("name") === user ? recall(`token ${address}`) : null;
  session = { address, user, token: null, remembered, welcomed: false, rooms: new Map(), outbox: [], heard: new Set() };
  current = DEFAULT_ROOM;
  attempt = 0;
  $("problem").textContent = "";
  open();
};

$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text.trim() || !session) return;
  $("text").value = "";
  if (text.startsWith("/") && !text.startsWith("//")) command(text);
  else say(text.replace(/^\/\//, "/"));
};

$("create").onsubmit = (event) => {
  event.preventDefault();
  const name = $("newroom").value.trim();
  $("newroom").value = "";
  if (name) command(`/create ${name}`);
};

$("quit").onclick = () => stop();

window.ononline = () => {
  if (session && session.token && !socket) open();
};
