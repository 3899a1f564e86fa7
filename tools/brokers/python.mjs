// A Python that can import pinned packages, in the project's cache.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../lib/process.mjs'
import { cacheFolder, fill, withLock } from './cache.mjs'

async function must(command, args) {
  const { code, output } = await run(command, args, { cwd: '/', timeoutMs: 300_000 })
  if (code !== 0) throw new Error(`${command} ${args.slice(0, 3).join(' ')} failed:\n${output.trim().split('\n').slice(-12).join('\n')}`)
  return output.trim()
}

export async function pythonWith(packages) {
  const loose = packages.filter((one) => !/^[\w.[\]-]+==[\w.]+$/.test(one))
  if (loose.length > 0) throw new TypeError(`not pinned to a version: ${loose.join(', ')}`)
  const wanted = [...packages].sort()
  const about = 'import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)'
  const [major, minor, ...rest] = (await must('python3', ['-c', about])).split(' ')
  const key = createHash('sha256')
    .update(`${major}.${minor} ${rest.join(' ')}\n${wanted.join('\n')}`)
    .digest('hex')
    .slice(0, 16)
  const parent = cacheFolder('python')
  const python = join(parent, key, 'bin', 'python3')
  if (existsSync(python)) return python
  return await withLock(`python-${key}`, async () => {
    if (existsSync(python)) return python
    mkdirSync(parent, { recursive: true })
    await fill(parent, async (fresh) => {
      // Without pip inside: that takes seconds, and on Debian a package more.
      await must('python3', ['-m', 'venv', '--without-pip', fresh])
      const target = join(fresh, 'lib', `python${major}.${minor}`, 'site-packages')
      const flags = ['--only-binary', ':all:', '--no-input', '--disable-pip-version-check', '--retries', '5', '-q']
      await must('python3', ['-m', 'pip', 'install', ...flags, '--target', target, ...wanted])
      return key
    })
    return python
  })
}
