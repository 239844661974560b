#!/usr/bin/env node
// A player (minecraft-protocol) who joins through mc-broker, and follows a hand-over.
//
//   node tests/lab/broker_client.js --port P [--host 127.0.0.1] [--name steve] [--version 1.21.11] [--session URL]
//
// Prints what he sees, a line each: `handed over HOST PORT`, `in game PORT`, `told TEXT`, `asked` for each request that keeps
// a login alive, `alive` for each that keeps a configuration alive. --session: a session server at which he has an account;
// without one he has none. Stays in the game until SIGTERM, SIGINT, a line `quit` on stdin or a closed stdin. Exit code 1
// when he was told why he cannot come in, 3 when the connection broke off without a word. Versions: 1.8.8 to 26.1.
const crypto = require('crypto')
const peer = require('./peer')
const protocol = peer.load('minecraft-protocol')

const args = peer.options({ host: '127.0.0.1', port: '25565', name: 'steve', version: '1.21.11', session: '' })
const id = crypto.createHash('md5').update(args.name).digest('hex')
let current

function join (host, port, first) {
  const options = {
    host,
    port,
    username: args.name,
    version: args.version,
    hideErrors: true,
    checkTimeoutInterval: 30000, // as the original game
    sessionServer: args.session || undefined
  }
  if (args.session && first) {
    options.auth = (client, options) => {
      client.username = args.name
      client.session = { accessToken: id, selectedProfile: { id, name: args.name } }
      options.accessToken = id
      options.haveCredentials = true
      options.connect(client)
    }
  }
  const client = protocol.createClient(options)
  current = client
  let next = null
  let told = null
  client.on('login_plugin_request', () => peer.say('asked'))
  client.on('keep_alive', () => { if (client.state === 'configuration') peer.say('alive') })
  client.on('transfer', packet => {
    peer.say(`handed over ${packet.host} ${packet.port}`)
    next = packet
    client.end('transferred')
  })
  client.on('disconnect', packet => { told = packet.reason })
  client.on('kick_disconnect', packet => { told = packet.reason })
  client.on('login', () => peer.say(`in game ${port}`))
  client.on('error', error => console.error(error.stack || String(error)))
  client.on('end', reason => {
    if (next) return join(next.host, next.port, false)
    if (leaving) process.exit(0)
    if (told !== null) {
      peer.say(`told ${text(told)}`)
      process.exit(1)
    }
    console.error(`the connection broke off: ${reason}`)
    process.exit(3)
  })
}

// A component as JSON text, or as NBT.
function text (component) {
  let value = component
  if (typeof value === 'string') {
    try { value = JSON.parse(value) } catch { return component }
  }
  while (value && typeof value === 'object') value = value.text !== undefined ? value.text : value.value
  return String(value)
}

let leaving = false
join(args.host, Number(args.port), true)
peer.onEnd(() => {
  leaving = true
  current.end('quit')
  setTimeout(() => process.exit(0), 1000).unref()
})
