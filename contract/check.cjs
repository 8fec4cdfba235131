// Judges an AsyncAPI document by AsyncAPI's own parser: `make lint`.
const { readFileSync } = require('node:fs')
const { Parser } = require('@asyncapi/parser')

const ERROR_OR_WARNING = 1

new Parser().parse(readFileSync(process.argv[2], 'utf8')).then(({ diagnostics }) => {
  const wrong = diagnostics.filter(({ severity }) => severity <= ERROR_OR_WARNING)
  for (const { path, message } of wrong) console.error(`${process.argv[2]}: ${path.join('.')}: ${message}`)
  process.exitCode = wrong.length ? 1 : 0
})
