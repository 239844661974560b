#!/usr/bin/env node
// minecraft-protocol's server in offline mode, as its own example has it: answers status pings, and holds whoever logs in.
//
//   node tests/bench/peers/status_server.js --port P
//
// Prints `listening PORT`. Ends at SIGTERM, SIGINT, a line `quit` on stdin or a closed stdin.
const peer = require('../../lab/peer')
const protocol = peer.load('minecraft-protocol')

const args = peer.options({ port: '25565' })
const server = protocol.createServer({
  host: '127.0.0.1',
  port: Number(args.port),
  'online-mode': false,
  version: '1.21.11',
  maxPlayers: 100000,
  motd: 'Asleep. Join to start it.',
  hideErrors: true
})
server.on('listening', () => peer.say(`listening ${args.port}`))
server.on('error', error => console.error(error.message))
process.on('uncaughtException', error => console.error(error))
peer.onEnd(() => process.exit(0))
