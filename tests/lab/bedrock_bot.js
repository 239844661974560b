#!/usr/bin/env node
// A Bedrock player (bedrock-protocol) for the lab: logs in, stays, leaves when told.
//
//   node tests/lab/bedrock_bot.js --port P [--host 127.0.0.1] [--name steve] [--version 1.21.50]
//
// Prints `joined` when the server has let it in and `left` when it has left. Leaves at SIGTERM, SIGINT, a line `quit` on
// stdin or a closed stdin. Exit code 1 with a line on stderr when it was kicked, lost its connection or could not join.
const peer = require('./peer')
const { createClient } = peer.load('bedrock-protocol')

const args = peer.options({ host: '127.0.0.1', port: '19132', name: 'steve', version: '1.21.50' })

const bot = createClient({
  host: args.host,
  port: Number(args.port),
  username: args.name,
  version: args.version,
  offline: true,
  raknetBackend: 'jsp-raknet',
  useRaknetWorkers: false,
  skipPing: true,
  conLog: text => console.error(text)
})

const fail = why => {
  console.error(`${args.name}: ${why}`)
  process.exit(1)
}
bot.once('join', () => peer.say('joined'))
bot.on('kick', packet => fail(`kicked: ${packet.message}`))
bot.on('error', error => fail(error.message || String(error)))
bot.on('close', () => fail('connection lost'))
peer.onEnd(() => {
  bot.removeAllListeners('close')
  bot.disconnect()
  setTimeout(() => { // the datagrams that say so have to leave first
    peer.say('left')
    process.exit(0)
  }, 300)
})
