// What server.js and bot.js share: the modules under target/lab, and when to end.
const fs = require('fs')
const path = require('path')
const { parseArgs } = require('util')
const { createRequire } = require('module')

const installed = path.resolve(__dirname, '../../target/lab')

// Modules are found from wherever the script was called.
exports.load = name => {
  try {
    return createRequire(path.join(installed, 'package.json'))(name)
  } catch (error) {
    console.error(`${name} did not load; run tests/lab/setup.sh first (${error.message.split('\n')[0]})`)
    process.exit(1)
  }
}

// --key value pairs with their defaults; anything else ends the program.
exports.options = defaults => {
  const options = {}
  for (const key of Object.keys(defaults)) options[key] = { type: 'string', default: defaults[key] }
  try {
    return parseArgs({ options }).values
  } catch (error) {
    console.error(error.message)
    process.exit(2)
  }
}

// Only these lines reach stdout: flying-squid writes log and prompt there, so that stream becomes stderr.
exports.say = line => fs.writeSync(1, line + '\n')
process.stdout.write = (...args) => process.stderr.write(...args)

// Calls `end` once, at SIGTERM, SIGINT, a closed stdin (a pipe; not /dev/null or a terminal) or a line `quit`.
exports.onEnd = end => {
  let ended = false
  const once = () => {
    if (!ended) end()
    ended = true
  }
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, once)
  const stdin = fs.fstatSync(0)
  if (stdin.isFIFO() || stdin.isSocket()) {
    process.stdin.on('end', once)
    process.stdin.on('data', text => /^quit\s*$/m.test(text) && once())
  }
}
