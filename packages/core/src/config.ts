export { type Config, defineConfig, loadConfig, type LoadOptions } from './load-config.ts'
