#!/usr/bin/env node
// The Minecraft server that the image runs from EFS: flying-squid, which saves its world when it is told to stop.
//
// Like the original game it says in its log what it does, takes its time to save, and ends with 143 after SIGTERM.
const fs = require('fs')
const path = require('path')

const world = path.join(__dirname, 'world')
const REGIONS = 20 // files that are written one after the other, each through to the NFS server
const EVERY_MS = 150

const say = line => fs.writeSync(1, line + '\n')
process.stdout.write = (...args) => process.stderr.write(...args) // the game's own log and prompt

function writeThrough (file, text) {
  const part = file + '.part'
  const out = fs.openSync(part, 'w')
  fs.writeSync(out, text)
  fs.fsyncSync(out)
  fs.closeSync(out)
  fs.renameSync(part, file)
}

function save () {
  say('Stopping the server')
  say('Saving the world')
  let region = 0
  const timer = setInterval(() => {
    if (region < REGIONS) return writeThrough(path.join(world, `region-${region++}`), 'x'.repeat(65536))
    clearInterval(timer)
    writeThrough(path.join(world, 'level.dat'), JSON.stringify({ regions: REGIONS, savedAt: Date.now() }))
    say('The world is saved')
    process.exit(143)
  }, EVERY_MS)
}

// flying-squid would exit at once: it asks for the signal with `once`, some time after its start.
const once = process.once
process.once = (event, handler) => event === 'SIGTERM' ? process : once.call(process, event, handler)
let saving = false
process.on('SIGTERM', () => {
  if (!saving) save()
  saving = true
})

fs.mkdirSync(world, { recursive: true })
fs.rmSync(path.join(world, 'level.dat'), { force: true }) // what is there at the end was written at the end
say('Loading the game')
const { createMCServer } = require('flying-squid')
const server = createMCServer({
  port: 25565,
  version: process.env.GAME_VERSION || '1.12.2',
  motd: 'mc-idle image test',
  'max-players': 10,
  'online-mode': false,
  kickTimeout: 30000,
  generation: { name: 'superflat', options: { worldHeight: 80 } },
  'view-distance': 2,
  'player-list-text': { header: { text: 'mc-idle' }, footer: { text: 'image' } },
  'everybody-op': true,
  logging: false,
  plugins: {},
  gameMode: 1,
  difficulty: 0,
  'max-entities': 10
})
server._server.on('listening', () => say('Done: listening on port 25565'))
server.on('error', error => {
  say(`error: ${error.message}`)
  if (error.code === 'EADDRINUSE' || error.code === 'EACCES') process.exit(1)
})
process.on('uncaughtException', error => console.error(error))
process.on('unhandledRejection', error => console.error(error))
