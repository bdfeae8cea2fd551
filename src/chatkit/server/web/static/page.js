// A small chat page over chatkit's protocol. What people wrote reaches the page as text nodes, never as HTML.
"use strict";

const KEEP = 500; // lines shown of a room
const HISTORY = 50; // messages fetched on entering one
const DEFAULT_ROOM = "general";
const PATIENCE = 10_000; // milliseconds for a server to say hello
const LONGEST_WAIT = 30_000; // milliseconds between two tries to come back
const FINAL = [1000, 4403, 4409]; // close codes after which one does not come back
const LATER = ["rate_limited", "storage_unavailable", "internal_error"]; // refusals that are worth another try
const RUN = Math.random().toString(36).slice(2) || "0"; // with which this page numbers its logins
const OWN = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;

let session = null; // who is here, or null: address, user, token, rooms, outbox
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
    welcome(reply);
    await listRooms();
    if (first) await enter(reply.rooms.some((room) => room.room === DEFAULT_ROOM) ? DEFAULT_ROOM : reply.rooms[0].room);
    for (const item of [...mine.outbox]) deliver(item);
    draw();
  } catch (error) {
    if (session !== mine || error.code === "disconnected") return;
    if (mine.token && LATER.includes(error.code)) socket.close(4000); // and come back later
    else stop(error.message);
  }
}

function welcome(reply) {
  const resumed = reply.resume || {};
  attempt = 0;
  session.user = reply.user;
  session.token = reply.token;
  remember("name", reply.user);
  remember(`token ${session.address}`, reply.token);
  for (const room of session.rooms.values()) room.joined = false;
  for (const summary of reply.rooms) {
    const room = update(summary);
    room.joined = true;
    if (room.epoch !== summary.epoch || resumed[room.name] === "reset") restart(room, summary);
  }
  $("connect").hidden = true;
  $("chat").hidden = false;
  $("status").textContent = "";
}

async function listRooms() {
  let after, page;
  do {
    page = await ask("list_rooms", after === undefined ? {} : { after });
    page.rooms.forEach(update);
    after = page.rooms.at(-1)?.room;
  } while (page.more);
}

// A room's log is another one, or has a gap: begin anew with what is there.
function restart(room, summary) {
  room.epoch = summary.epoch;
  room.seq = summary.head;
  room.lines = [];
  if (room.name === current) fetchHistory(room);
}

// ── what is known ───────────────────────────────────────────────────────────────────────────────────────────────────

function update(summary) {
  let room = session.rooms.get(summary.room);
  if (!room) {
    room = { name: summary.room, epoch: summary.epoch, seq: summary.head, lines: [], joined: false, unread: false };
    session.rooms.set(summary.room, room);
  }
  room.users = summary.users;
  room.topic = summary.topic;
  return room;
}

function receive(message) {
  const data = message.data;
  if (message.action === "success" || message.action === "error") return answered(message);
  const room = data.room === undefined ? undefined : session.rooms.get(data.room);
  switch (message.action) {
    case "room_created":
    case "room_updated":
      update(data);
      break;
    case "room_deleted":
      session.rooms.delete(data.room);
      if (data.room === current) enter(DEFAULT_ROOM).then(() => notice(DEFAULT_ROOM, `${data.room} was deleted`));
      break;
    case "user_joined":
    case "user_left":
      if (room) room.users = data.users;
      notice(data.room, `${data.user} ${message.action === "user_left" ? "left" : "joined"}`);
      break;
    case "user_renamed":
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
  const line = lineOf(message);
  if (line) add(room, line);
}

function lineOf({ data, timestamp }) {
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

function problem(text) {
  const room = session && session.rooms.get(current);
  if (room) add(room, { kind: "failed", text, at: Date.now() });
}

// Put what was said before in front of what is there already.
function prepend(room, events) {
  const known = new Set(room.lines.map((line) => line.seq));
  const older = events.map(lineOf).filter((line) => line && line.seq <= room.seq && !known.has(line.seq));
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
      room.epoch = reply.epoch;
      room.seq = reply.events.length ? reply.events.at(-1).data.seq : reply.head;
      room.lines = [];
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
  const item = { op: random(), room: current, text, node: null };
  session.outbox.push(item);
  showPending(item);
  bottom();
  deliver(item);
}

async function deliver(item) {
  const mine = session;
  try {
    const reply = await ask("send_message", { room: item.room, text: item.text, op: item.op });
    const room = mine.rooms.get(reply.room);
    if (room && reply.seq <= room.seq) settle(item.op); // kept earlier, and shown already
  } catch (error) {
    if (session !== mine || error.code === "disconnected") return;
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
    if (current === DEFAULT_ROOM) return problem(`${DEFAULT_ROOM} is where everybody starts`);
    const left = session.rooms.get(current);
    await ask("leave_room", { room: left.name });
    left.joined = false;
    await enter(DEFAULT_ROOM);
  },
  rooms() {
    notice(current, [...session.rooms.values()].map((room) => `${room.name} (${room.users})`).join(", "));
  },
  async users() {
    const page = await ask("list_users", { room: current });
    notice(current, page.users.map((user) => user.user).join(", "));
  },
  async username(user) {
    const reply = await ask("rename", { user });
    session.user = reply.user;
    remember("name", reply.user);
    draw();
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

// The list of rooms, soon: many changes are drawn once.
function drawRooms() {
  if (listDue) return;
  listDue = true;
  setTimeout(() => {
    listDue = false;
    if (session) drawRoomsNow();
  }, 50);
}

function drawRoomsNow() {
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
  $("title").textContent = room && room.topic ? `${current}: ${room.topic}` : current;
  $("me").textContent = `You are ${session.user}`;
  $("log").replaceChildren(...(room ? room.lines.map(row) : []));
  for (const item of session.outbox) if (item.room === current) showPending(item);
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
  session = { address, user, token: null, remembered, welcomed: false, rooms: new Map(), outbox: [] };
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
