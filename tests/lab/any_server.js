#!/usr/bin/env node
// A Minecraft server (minecraft-protocol, offline mode) for every version from 1.8.8 to 26.1 at once.
//
//   node tests/lab/any_server.js [--port 0] [--host 127.0.0.1] [--motd TEXT] [--proxy-header true]
//
// Prints `listening PORT`, `joined NAME PROTOCOL` for each player, and `pinged` for each status ping. --proxy-header true: every
// connection has to begin with a PROXY header, version 2, and `client ADDRESS` is printed. Ends at SIGTERM, SIGINT, a line
// `quit` on stdin or a closed stdin.
const net = require('net')
const peer = require('./peer')
const protocol = peer.load('minecraft-protocol')
const data = peer.load('minecraft-data')

const args = peer.options({ port: '0', host: '127.0.0.1', motd: 'the server itself', 'proxy-header': 'false' })
const behindProxy = args['proxy-header'] === 'true'

const server = protocol.createServer({
  host: args.host,
  // 0 would be the usual port.
  port: behindProxy ? 1 : Number(args.port) || 1,
  'online-mode': false,
  version: false,
  motd: args.motd,
  hideErrors: true,
  kickTimeout: 300000, // all versions at once keep it busy
  beforePing: response => { peer.say('pinged'); return response },
  ...(behindProxy || args.port === '0' ? { Server: withoutListening() } : {})
})

// The library's own server cannot choose a port by itself, and knows no PROXY header: it is given its sockets.
function withoutListening () {
  const Server = peer.load('minecraft-protocol').Server
  return class extends Server {
    listen (_port, host) {
      super.listen(0, host)
      if (behindProxy) this.socketServer.close()
    }
  }
}

server.on('listening', () => {
  if (!behindProxy) peer.say(`listening ${server.socketServer.address().port}`)
})
if (behindProxy) {
  const inside = server.socketServer.listeners('connection')
  const front = net.createServer(socket => {
    socket.once('readable', () => {
      const head = socket.read(16)
      const length = head.readUInt16BE(14)
      const rest = socket.read(length)
      if (head.readUInt8(12) === 0x21) peer.say(`client ${[...rest.subarray(0, 4)].join('.')}`)
      for (const take of inside) take.call(server.socketServer, socket)
    })
  })
  front.listen(0, args.host, () => peer.say(`listening ${front.address().port}`))
}

server.on('playerJoin', client => {
  const { loginPacket } = data(client.version)
  client.write('login', { ...loginPacket, entityId: 1, enforcesSecureChat: false })
  peer.say(`joined ${client.username} ${client.protocolVersion}`)
})
server.on('error', error => console.error(error.message))
process.on('uncaughtException', error => console.error(error))
peer.onEnd(() => process.exit(0))
