export { type Config, defineConfig, type LoadOptions, loadConfig } from './load-config.ts'
