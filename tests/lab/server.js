#!/usr/bin/env node
// A Minecraft server (flying-squid, offline mode, 10 places) for the lab.
//
//   node tests/lab/server.js [--port 0] [--host H] [--version 1.20.2] [--kick-timeout 30000] [--status-ms 0]
//
// Prints one line `listening PORT` on stdout when the port accepts; its own log goes to stderr.
// No --host: on all addresses, IPv4 and IPv6 (rows in /proc/net/tcp6); 127.0.0.1: IPv4 only (rows in /proc/net/tcp).
// --kick-timeout: after how many ms of silence a connection is closed; 30000 as in the original game.
// --status-ms: how long a status answer takes (a lagging server).
// Ends at SIGTERM, SIGINT, a line `quit` on stdin or a closed stdin. Versions: 1.8.8 to 1.21.4.
const peer = require('./peer')
const { createMCServer } = peer.load('flying-squid')

const args = peer.options({ port: '0', host: '', version: '1.20.2', 'kick-timeout': '30000', 'status-ms': '0' })

const server = createMCServer({
  host: args.host || undefined,
  port: Number(args.port),
  version: args.version,
  motd: 'mc-idle lab',
  'max-players': 10,
  'online-mode': false,
  kickTimeout: Number(args['kick-timeout']),
  generation: { name: 'superflat', options: { worldHeight: 80 } }, // and no worldFolder: nothing is saved
  'view-distance': 2,
  'player-list-text': { header: { text: 'mc-idle' }, footer: { text: 'lab' } },
  'everybody-op': true,
  logging: false,
  plugins: {},
  gameMode: 1,
  difficulty: 0,
  'max-entities': 10,
  beforePing: (response, _client, answer) => {
    // flying-squid counts its players; the original game names some of them too.
    response.players.sample = server.players.map(player => ({ name: player.username, id: player.uuid }))
    setTimeout(answer, Number(args['status-ms']), null, response)
  }
})

// The event's own argument is the port asked for, which may be 0.
server._server.on('listening', () => peer.say(`listening ${server._server.socketServer.address().port}`))
server.on('error', error => {
  console.error(error.message)
  if (error.code === 'EADDRINUSE' || error.code === 'EACCES') process.exit(1)
})
// A peer that hangs up in mid-login makes flying-squid throw; a server for scanners to poke at must outlive that.
process.on('uncaughtException', error => console.error(error))
process.on('unhandledRejection', error => console.error(error))
peer.onEnd(() => process.exit(0))
