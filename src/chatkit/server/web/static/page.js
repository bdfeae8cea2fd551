// A small chat page over chatkit's protocol. Everything a person wrote reaches the page as text nodes, never as HTML.
"use strict";
const $ = (id) => document.getElementById(id);
const KEEP = 500, HISTORY = 50, DEFAULT_ROOM = "general";
const own = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;

let socket = null, refs = 0, calls = new Map(), session = null, current = DEFAULT_ROOM, attempt = 0, timer = 0;

function store(key, value) { try { value === undefined ? 0 : localStorage.setItem(key, value); return localStorage.getItem(key); } catch { return null; } }
function make(tag, text, className) { const node = document.createElement(tag); if (text !== undefined) node.textContent = text; if (className) node.className = className; return node; }
function random() { return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join(""); }

// ── the link ──────────────────────────────────────────────────────────────────────────────────────────────────────────
function open() {
  let ws;
  try { ws = new WebSocket(session.address, "chatkit.v1.json"); } catch { return stop(`${session.address} is not a WebSocket address`); }
  socket = ws;
  let welcomed = false;
  ws.onmessage = (event) => { if (ws === socket) { const message = JSON.parse(event.data); if (message.action === "hello") { welcomed = true; login(); } else receive(message); } };
  ws.onclose = (event) => {
    if (ws !== socket) return;
    socket = null;
    const waiting = [...calls.values()]; calls.clear();
    for (const call of waiting) call.fail({ code: "disconnected", message: "the connection was lost" });
    if (!session) return;
    if (!session.token) return stop(welcomed ? event.reason || "the server closed the connection" : `nobody answers at ${session.address}`);
    if ([1000, 4403, 4409].includes(event.code)) return stop(event.reason || "disconnected");
    again(event.reason);
  };
}
function again(reason) {
  const delay = Math.random() * Math.min(30000, 500 * 2 ** attempt++);
  $("status").textContent = `${reason || "connection lost"}, trying again …`;
  timer = setTimeout(open, delay);
}
function stop(problem) {
  clearTimeout(timer);
  const ws = socket; socket = null; session = null;
  if (ws) ws.close(1000);
  $("chat").hidden = true; $("connect").hidden = false; $("problem").textContent = problem || ""; $("name").focus();
}
function ask(action, data) {
  return new Promise((done, fail) => {
    if (!socket || socket.readyState !== WebSocket.OPEN) return fail({ code: "disconnected", message: "not connected" });
    calls.set(++refs, { done, fail });
    socket.send(JSON.stringify({ action, ref: refs, data }));
  });
}

// ── logging in, and again after a loss ────────────────────────────────────────────────────────────────────────────────
async function login() {
  const data = { user: session.user };
  if (session.token || session.remembered) data.token = session.token || session.remembered;
  if (session.token) {
    data.resume = {};
    for (const room of session.rooms.values()) if (room.joined) data.resume[room.name] = { epoch: room.epoch, seq: room.seq };
  }
  try {
    const reply = await ask("login", data);
    const first = !session.token;
    session.user = reply.user; session.token = reply.token; attempt = 0;
    store("chatkit.name", reply.user); store("chatkit.token", reply.token);
    for (const room of session.rooms.values()) room.joined = false;
    for (const summary of reply.rooms) { const room = update(summary); room.joined = true; if (room.epoch === null || (reply.resume || {})[room.name] === "reset") restart(room, summary); }
    $("connect").hidden = true; $("chat").hidden = false; $("status").textContent = "";
    let page, after;
    do { page = await ask("list_rooms", after === undefined ? {} : { after }); page.rooms.forEach(update); after = page.rooms.length ? page.rooms.at(-1).room : undefined; } while (page.more);
    if (first) await enter(reply.rooms.some((room) => room.room === DEFAULT_ROOM) || !reply.rooms.length ? DEFAULT_ROOM : reply.rooms[0].room);
    for (const item of [...session.outbox]) deliver(item);
    draw();
  } catch (error) {
    if (error.code !== "disconnected") stop(error.message);
  }
}
function restart(room, summary) { room.epoch = summary.epoch; room.seq = summary.head; room.lines = []; if (room.name === current) fetchHistory(room); }

// ── what is known ─────────────────────────────────────────────────────────────────────────────────────────────────────
function update(summary) {
  let room = session.rooms.get(summary.room);
  if (!room) session.rooms.set(summary.room, room = { name: summary.room, epoch: null, seq: 0, lines: [], joined: false, unread: false });
  room.users = summary.users; room.topic = summary.topic;
  if (room.epoch === null) { room.epoch = summary.epoch; room.seq = summary.head; }
  return room;
}
function add(room, line) { room.lines.push(line); if (room.lines.length > KEEP) room.lines.shift(); if (room.name === current) show(line); else if (line.kind === "message") { room.unread = true; drawRooms(); } }
function notice(name, text) { const room = session.rooms.get(name); if (room) add(room, { kind: "notice", text, at: Date.now() }); }
function take(room, message) {
  const data = message.data;
  if (data.seq <= room.seq) return;
  room.seq = data.seq;
  const text = data.text !== undefined ? data.text : data.binary !== undefined ? `[${Math.floor(data.binary.length * 3 / 4)} bytes]` : null;
  const waiting = data.user === session.user ? session.outbox.find((item) => item.op === data.op) : null;
  if (waiting) { session.outbox.splice(session.outbox.indexOf(waiting), 1); waiting.node?.remove(); }
  if (text !== null) add(room, { kind: "message", user: data.user, text, at: Date.parse(message.timestamp) });
}
function receive(message) {
  const data = message.data;
  if (message.action === "success" || message.action === "error") {
    const call = calls.get(message.ref);
    calls.delete(message.ref);
    if (call) message.action === "success" ? call.done(data) : call.fail(data);
    return;
  }
  const room = data.room === undefined ? null : session.rooms.get(data.room);
  switch (message.action) {
    case "room_created": case "room_updated": update(data); break;
    case "room_deleted": session.rooms.delete(data.room); if (data.room === current) { enter(DEFAULT_ROOM); notice(DEFAULT_ROOM, `${data.room} was deleted`); } break;
    case "user_joined": if (room) { room.users = data.users; notice(data.room, `${data.user} joined`); } break;
    case "user_left": if (room) { room.users = data.users; notice(data.room, `${data.user} left`); } break;
    case "user_renamed": notice(current, `${data.was} is now ${data.user}`); break;
    case "system": notice(current, data.text); break;
    default: if (room && room.joined && Number.isInteger(data.seq)) take(room, message);
  }
  drawRooms();
}

// ── doing ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
async function enter(name) {
  try {
    const room = session.rooms.get(name);
    const known = room && room.joined;
    const reply = await ask("join_room", known && room.lines.some((line) => line.kind === "message") ? { room: name } : { room: name, last: HISTORY });
    const entered = update(reply);
    if (!known) { entered.joined = true; entered.epoch = reply.epoch; entered.seq = reply.events.length ? reply.events[0].data.seq - 1 : reply.head; entered.lines = []; }
    current = reply.room; entered.unread = false;
    if (known) prepend(entered, reply.events); else for (const event of reply.events) take(entered, event);
    draw();
  } catch (error) { problem(error.message); }
}
function prepend(room, events) {
  const older = events.filter((event) => event.data.seq <= room.seq && (event.data.text !== undefined || event.data.binary !== undefined));
  if (!room.lines.some((line) => line.kind === "message"))
    room.lines = older.map((event) => ({ kind: "message", user: event.data.user, text: event.data.text ?? "[bytes]", at: Date.parse(event.timestamp) })).concat(room.lines);
}
async function fetchHistory(room) { try { const page = await ask("history", { room: room.name, limit: HISTORY }); prepend(room, page.events); if (room.name === current) draw(); } catch { /* the next login tries again */ } }
function say(text) {
  const item = { op: random(), room: current, text };
  session.outbox.push(item);
  item.node = row({ kind: "pending", user: session.user, text, at: Date.now() });
  $("log").append(item.node); bottom();
  deliver(item);
}
async function deliver(item) {
  try { await ask("send_message", { room: item.room, text: item.text, op: item.op }); }
  catch (error) {
    if (error.code === "disconnected" || error.code === "storage_unavailable") return;
    if (error.code === "rate_limited") return void setTimeout(() => deliver(item), 1000 * (error.retry_after || 1));
    session.outbox.splice(session.outbox.indexOf(item), 1); item.node?.remove(); problem(error.message);
  }
}
function problem(text) { const room = session && session.rooms.get(current); if (room) add(room, { kind: "failed", text, at: Date.now() }); }
async function command(line) {
  const [name, ...rest] = line.slice(1).split(/\s+/), argument = rest.join(" ");
  const commands = {
    join: () => enter(argument), create: async () => { await ask("create_room", { room: argument }); const room = session.rooms.get(argument); if (room) room.joined = true; await enter(argument); },
    leave: async () => { if (current === DEFAULT_ROOM) return problem(`${DEFAULT_ROOM} is where everybody starts`); const left = current; await ask("leave_room", { room: left }); session.rooms.get(left).joined = false; await enter(DEFAULT_ROOM); },
    rooms: () => notice(current, [...session.rooms.values()].map((room) => `${room.name} (${room.users})`).join(", ")),
    users: async () => notice(current, (await ask("list_users", { room: current })).users.map((user) => user.user).join(", ")),
    username: async () => { const reply = await ask("rename", { user: argument }); session.user = reply.user; store("chatkit.name", reply.user); draw(); },
    quit: () => stop(), help: () => notice(current, "/join room, /create room, /leave, /rooms, /users, /username name, /quit"),
  };
  if (!Object.hasOwn(commands, name)) return problem(`there is no /${name}; /help lists the commands`);
  try { await commands[name](); } catch (error) { problem(error.message); }
}

// ── showing ───────────────────────────────────────────────────────────────────────────────────────────────────────────
function row(line) {
  const item = make("li", undefined, line.kind);
  item.append(make("time", new Date(line.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
  if (line.user !== undefined) item.append(make("b", line.user));
  item.append(make("bdi", line.text));
  return item;
}
function bottom() { const log = $("log"); log.scrollTop = log.scrollHeight; }
function show(line) {
  const log = $("log"), follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(row(line));
  while (log.children.length > KEEP) log.firstChild.remove();
  if (follows) bottom();
}
function drawRooms() {
  $("rooms").replaceChildren(...[...session.rooms.values()].sort((a, b) => a.name.localeCompare(b.name)).map((room) => {
    const item = make("li"), button = make("button", `${room.name} (${room.users})`, room.unread ? "unread" : "");
    button.type = "button"; button.title = room.topic || "";
    if (room.name === current) button.setAttribute("aria-current", "true");
    button.onclick = () => enter(room.name);
    item.append(button);
    return item;
  }));
}
function draw() {
  const room = session.rooms.get(current);
  $("title").textContent = room && room.topic ? `${current}: ${room.topic}` : current;
  $("me").textContent = `You are ${session.user}`;
  $("log").replaceChildren(...(room ? room.lines.map(row) : []));
  for (const item of session.outbox) if (item.room === current) { item.node = row({ kind: "pending", user: session.user, text: item.text, at: Date.now() }); $("log").append(item.node); }
  drawRooms(); bottom();
}

$("address").value = store("chatkit.address") || own;
$("name").value = store("chatkit.name") || "";
$("connect").onsubmit = (event) => {
  event.preventDefault();
  const address = $("address").value.trim(), user = $("name").value.trim();
  if (address !== own) store("chatkit.address", address); else try { localStorage.removeItem("chatkit.address"); } catch { /* nothing was kept */ }
  session = { address, user, token: null, remembered: store("chatkit.name") === user ? store("chatkit.token") : null, rooms: new Map(), outbox: [] };
  current = DEFAULT_ROOM; attempt = 0; $("problem").textContent = "";
  open();
};
$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value;
  $("text").value = "";
  if (!text.trim() || !session) return;
  if (text.startsWith("/") && !text.startsWith("//")) command(text); else say(text.replace(/^\/\//, "/"));
};
$("create").onsubmit = (event) => { event.preventDefault(); const name = $("newroom").value.trim(); $("newroom").value = ""; if (name) command(`/create ${name}`); };
$("quit").onclick = () => stop();
if ($("name").value) $("connect").querySelector("button").focus(); else $("name").focus();
