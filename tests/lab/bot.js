#!/usr/bin/env node
// A player (mineflayer) for the lab: joins, looks about, leaves when told.
//
//   node tests/lab/bot.js --port P [--host 127.0.0.1] [--name steve] [--version 1.20.2]
//
// Prints `spawned` when it is in the game and `left` when it has left. Leaves at SIGTERM, SIGINT, a line `quit` on stdin
// or a closed stdin. Exit code 1 with a line on stderr when it was kicked, lost its connection or could not join.
const peer = require('./peer')
const mineflayer = peer.load('mineflayer')

const args = peer.options({ host: '127.0.0.1', port: '25565', name: 'steve', version: '1.20.2' })

const bot = mineflayer.createBot({
  host: args.host,
  port: Number(args.port),
  username: args.name,
  version: args.version,
  auth: 'offline',
  viewDistance: 'tiny',
  hideErrors: true,
  logErrors: false
})
let leaving = false
let reason = 'connection lost'

bot.once('spawn', () => {
  peer.say('spawned')
  setInterval(() => { if (!leaving) bot.look(Math.random() * 6, 0) }, 2000) // a player's traffic
})
bot.on('kicked', why => { reason = `kicked: ${typeof why === 'string' ? why : JSON.stringify(why)}` })
bot.on('error', error => { reason = error.message || error.code || String(error) })
bot.on('end', () => {
  if (leaving) peer.say('left')
  else console.error(`${args.name}: ${reason}`)
  process.exit(leaving ? 0 : 1)
})
peer.onEnd(() => {
  leaving = true
  bot.quit()
  setTimeout(() => process.exit(1), 60000).unref() // a server that no longer answers
})
