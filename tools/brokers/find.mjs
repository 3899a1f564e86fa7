// Where a server's program comes from: the first place that has it wins, and what was tried on the way is remembered.
//
// A kind of server says how to look: `name`; `variable`, what its environment variables begin with; `identify(file, folder)`, which
// answers `{ file, folder, version, title }` for a program that works (`folder` is what it was unpacked into, or undefined) and throws
// otherwise; `inFolder(folder)` and `inSystem()`, the paths where the program may be; `packages`, Debian's names; `prepare(folder, target)`,
// what must be changed in unpacked files; `unpack(folder)` and `obstacle()` where its program comes from elsewhere than Debian's
// packages, and `finish(found)` for what is done once with an unpacked one; `image`; `external(url)`, which answers `{ version, title }` of a server that runs elsewhere.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { aptObstacle, unpackPackages } from './apt.mjs'
import { cacheFolder, fill, withLock } from './cache.mjs'
import { engineSocket } from './docker.mjs'
import { BrokerMissing } from './missing.mjs'

const firstLine = (error) => String(error?.message ?? error).split('\n')[0]
const withoutPassword = (url) => url.replace(/\/\/[^@/]*@/, '//')

/** The programs of the cache, newest version first. */
function cached(kind) {
  const base = cacheFolder('brokers', kind.name)
  const folders = existsSync(base) ? readdirSync(base).filter((name) => !name.startsWith('.') && name.endsWith(`-${process.arch}`)) : []
  const newestFirst = folders.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  return newestFirst.flatMap((name) => kind.inFolder(join(base, name)).map((file) => ({ file, folder: join(base, name) })))
}

async function firstThatWorks(kind, candidates, tried) {
  for (const { file, folder } of candidates) {
    if (!existsSync(file)) continue
    try {
      return await kind.identify(file, folder)
    } catch (error) {
      tried.push(`${file} does not work: ${firstLine(error)}`)
    }
  }
  return undefined
}

async function provision(kind, progress) {
  return await withLock(`brokers-${kind.name}`, async () => {
    // Somebody else may have done it while this process waited for the lock.
    const there = await firstThatWorks(kind, cached(kind), [])
    if (there !== undefined) return there
    const started = performance.now()
    const parent = cacheFolder('brokers', kind.name)
    progress(`${kind.name}: fetching ${kind.packages.join(' ')} …`)
    const folder = await fill(parent, async (fresh) => {
      await (kind.unpack?.(fresh) ?? unpackPackages(kind.packages, fresh))
      const tried = []
      const candidates = kind.inFolder(fresh).map((file) => ({ file, folder: fresh }))
      const found = await firstThatWorks(kind, candidates, tried)
      if (found === undefined) throw new Error(`nothing in ${kind.packages.join(' ')} works here; ${tried.join('; ')}`)
      const name = `${found.version}-${process.arch}`
      kind.prepare?.(fresh, join(parent, name))
      return name
    })
    const [file] = kind.inFolder(folder).filter((path) => existsSync(path))
    const found = await kind.identify(file, folder)
    await kind.finish?.(found)
    progress(`${kind.name}: ${found.title} is in the cache after ${((performance.now() - started) / 1000).toFixed(1)} s`)
    return found
  })
}

async function search(kind, progress) {
  const variable = (suffix) => `${kind.variable}_${suffix}`
  const given = (suffix) => process.env[variable(suffix)] || undefined
  const tried = []
  const url = given('URL')
  if (url !== undefined) {
    // Somebody said which server it is, so no other will do.
    const found = await kind.external(url).catch((error) => {
      throw new BrokerMissing(kind.name, [`${variable('URL')}=${withoutPassword(url)}: ${firstLine(error)}`])
    })
    return { ...found, source: 'external', url }
  }
  tried.push(`${variable('URL')} is not set`)
  const file = given('BINARY')
  if (file !== undefined) {
    const found = await firstThatWorks(kind, [{ file, folder: undefined }], tried)
    if (found === undefined)
      throw new BrokerMissing(kind.name, [`${variable('BINARY')}=${file}: ${existsSync(file) ? tried.at(-1) : 'there is no such file'}`])
    return { ...found, source: 'binary' }
  }
  tried.push(`${variable('BINARY')} is not set`)

  const inCache = await firstThatWorks(kind, cached(kind), tried)
  if (inCache !== undefined) return { ...inCache, source: 'cache' }
  tried.push(`the cache ${cacheFolder('brokers', kind.name)} has none`)

  const system = await firstThatWorks(
    kind,
    kind.inSystem().map((path) => ({ file: path, folder: undefined })),
    tried,
  )
  if (system !== undefined) return { ...system, source: 'system' }
  tried.push('the system has none installed')

  const preferDocker = process.env.POSTHORN_BROKERS === 'docker'
  const docker = async () => {
    const socket = await engineSocket()
    if (socket !== undefined)
      return { source: 'docker', image: kind.image, version: kind.image.split(':')[1], title: `${kind.image} in docker`, socket }
    tried.push('no docker engine answers')
    return undefined
  }
  const packages = async () => {
    const obstacle = kind.unpack === undefined ? aptObstacle() : kind.obstacle?.()
    if (obstacle !== undefined) tried.push(obstacle)
    else {
      try {
        return { ...(await provision(kind, progress)), source: 'provisioned' }
      } catch (error) {
        tried.push(`fetching packages failed: ${String(error.message).split('\n').slice(0, 6).join(' | ')}`)
      }
    }
    return undefined
  }
  for (const place of preferDocker ? [docker, packages] : [packages, docker]) {
    const found = await place()
    if (found !== undefined) return found
  }
  throw new BrokerMissing(kind.name, tried)
}

const found = new Map()

/** Finds the server of a kind, once per process. Throws `BrokerMissing` with what was tried. */
export function findKind(kind, progress = (line) => process.stderr.write(`broker: ${line}\n`)) {
  // What the environment says is part of the question.
  const key = [kind.name, process.env[`${kind.variable}_URL`], process.env[`${kind.variable}_BINARY`], cacheFolder()].join('\n')
  if (!found.has(key)) found.set(key, search(kind, progress))
  return found.get(key)
}
