// Compiles what has changed and prints what the compiler says; the step "build" of the tests.
import { build } from './setup.mjs'

const { code, output } = await build()
process.stdout.write(output)
process.exitCode = code
