#!/usr/bin/env node
// A Bedrock server (bedrock-protocol over RakNet, offline mode, 10 places) for the lab.
//
//   node tests/lab/bedrock.js [--port 0] [--host 127.0.0.1] [--version 1.21.50] [--motd TEXT]
//
// Prints one line `listening PORT` on stdout when the UDP port is bound. It counts whoever is connected over RakNet, and
// lets nobody into a world: that is as far as bedrock_bot.js goes.
// Ends at SIGTERM, SIGINT, a line `quit` on stdin or a closed stdin. IPv4 only.
const peer = require('./peer')
const { Server } = peer.load('bedrock-protocol')

const args = peer.options({ port: '0', host: '127.0.0.1', version: '1.21.50', motd: 'mc-idle lab' })

const server = new Server({
  host: args.host,
  port: Number(args.port),
  version: args.version,
  offline: true,
  raknetBackend: 'jsp-raknet', // the other one answers every ping with a fixed count
  maxPlayers: 10,
  motd: { motd: args.motd, levelName: 'lab' }
})
server.on('connect', client => client.on('join', () => console.error(`${client.profile.name} joined`)))
server.listen().then(
  () => {
    const raknet = server.raknet.raknet
    // One client that leaves, or falls silent, would end the server (jsp-raknet 2.2.0, Connection.disconnect).
    raknet.close = () => {
      for (const [key, connection] of raknet.connections) {
        if (connection.state !== 2) continue // Disconnecting
        raknet.connections.delete(key)
        if (server.clients[connection.address]) server.onCloseConnection(connection)
      }
    }
    peer.say(`listening ${raknet.socket.address().port}`)
  },
  error => {
    console.error(error.message)
    process.exit(1)
  }
)
// A datagram that is no RakNet makes it throw; a server for scanners to poke at must outlive that.
process.on('uncaughtException', error => console.error(error))
process.on('unhandledRejection', error => console.error(error))
peer.onEnd(() => process.exit(0))
