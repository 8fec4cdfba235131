// A Socket.IO server set up as its own documentation advises, WebSocket only (so that no sticky balancer is
// needed), whose users sign in with the same tokens as ours. Run in the folder where the peers are installed.
// PORT, REDIS_URL, SECRET; ADAPTER: pubsub, or streams (with connection state recovery); SESSION=1: keep a
// session of each user in Redis, as ours does.

import { createSecretKey } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const { Server } = require('socket.io');
const jwt = require('jsonwebtoken');
const redis = require('redis');

const { PORT, REDIS_URL, SECRET, ADAPTER, SESSION } = process.env;
const SESSION_SECONDS = 3600;
// prepared once: given as a string, the key alone would cost more than the rest of a join
const key = createSecretKey(Buffer.from(SECRET));

const client = redis.createClient({ url: REDIS_URL });
await client.connect();

async function adapter() {
  if (ADAPTER === 'streams') return require('@socket.io/redis-streams-adapter').createAdapter(client);
  const subscriber = client.duplicate();
  await subscriber.connect();
  return require('@socket.io/redis-adapter').createAdapter(client, subscriber);
}

const http = createServer(answer);
const io = new Server(http, {
  adapter: await adapter(),
  transports: ['websocket'],
  serveClient: false,
  // the token is looked at again when a connection is recovered, as ours does
  ...(ADAPTER === 'streams' && { connectionStateRecovery: { skipMiddlewares: false } }),
});

io.use((socket, next) => {
  try {
    socket.data.userId = jwt.verify(socket.handshake.auth.token, key, { algorithms: ['HS256'] }).sub;
    next();
  } catch {
    next(new Error('token_invalid'));
  }
});

io.on('connection', (socket) => {
  // in the room at once, without asking: the shortest way there is
  if (!socket.recovered) socket.join('room');
  socket.on('publish', (data) => io.to('room').emit('message', data));
  if (SESSION) restore(socket).catch(() => socket.disconnect());
});

/** Read and write the user's session in one round trip, and tell the client. */
async function restore(socket) {
  const name = `session:${socket.data.userId}`;
  const [session] = await client
    .multi()
    .hGetAll(name)
    .hSet(name, { socketId: socket.id, lastActivity: Date.now() })
    .expire(name, SESSION_SECONDS)
    .exec();
  socket.emit('session-restored', session);
}

/** `POST /publish` for the back end; anything else: are you there? */
async function answer(request, response) {
  if (request.method === 'POST') {
    const parts = await request.toArray();
    io.to('room').emit('message', JSON.parse(Buffer.concat(parts).toString()));
  }
  response.end('ok\n');
}

http.listen(PORT, '127.0.0.1', 4096);
