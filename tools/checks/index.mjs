// All checks by name, in the order in which they run.
import { check as api } from './api.mjs'
import { check as clock } from './clock.mjs'
import { check as docs } from './docs.mjs'
import { check as generated } from './generated.mjs'
import { check as imports } from './imports.mjs'
import { check as language } from './language.mjs'
import { check as length } from './length.mjs'
import { check as manifests } from './manifests.mjs'
import { check as versions } from './versions.mjs'
import { check as wording } from './wording.mjs'

export const checks = { clock, length, imports, language, versions, manifests, wording, api, generated, docs }
