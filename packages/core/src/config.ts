export type { ConfigTarget, Elsewhere } from './config-secrets.ts'
export { type Config, defineConfig, type LoadOptions, loadConfig } from './load-config.ts'
