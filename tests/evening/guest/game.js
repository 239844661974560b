// The game server of an evening: tests/lab/any_server.js, which can take players who are handed over, and a world.
//
// Like the original game it says in its log what it does, takes its time to save its world when it is told to stop, and ends
// with 143 after SIGTERM.
const fs = require('fs')
const path = require('path')

const REGIONS = 20 // files that are written one after the other, each through to the NFS server
const REGION_MILLISECONDS = 150
const world = path.join(__dirname, 'world')

const say = line => fs.writeSync(1, line + '\n')
const pause = milliseconds => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)

function writeThrough (name, text) {
  const part = path.join(world, name + '.part')
  const file = fs.openSync(part, 'w')
  fs.writeSync(file, text)
  fs.fsyncSync(file)
  fs.closeSync(file)
  fs.renameSync(part, path.join(world, name))
}

function save () {
  say('Stopping the server')
  say('Saving the world')
  for (let region = 0; region < REGIONS; region++) {
    writeThrough(`region-${region}`, 'x'.repeat(65536))
    pause(REGION_MILLISECONDS)
  }
  writeThrough('level.dat', JSON.stringify({ regions: REGIONS, saved_at: Date.now() / 1000 }))
  say('The world is saved')
  process.exit(143)
}

fs.mkdirSync(world, { recursive: true })
fs.rmSync(path.join(world, 'level.dat'), { force: true }) // what is there at the end was written at the end
process.on('SIGTERM', save) // before any_server's own
process.argv.push('--host', '0.0.0.0', '--port', '25565', '--motd', 'an evening')
require('./tests/lab/any_server')
