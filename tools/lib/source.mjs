// Source files as syntax trees, for checks that must not be fooled by comments and strings.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { filesBelow, root } from './workspace.mjs'

export const ts = createRequire(join(root, 'package.json'))('typescript')

/** A file's tree, with parents set. */
export function parse(base, file) {
  return ts.createSourceFile(file, readFileSync(join(base, file), 'utf8'), ts.ScriptTarget.Latest, true)
}

/** Calls `visit` with every node of the tree, from the outside in. */
export function walk(node, visit) {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}

/** A problem at a place in a file, as every check reports it. */
export function problemAt(tree, node, text) {
  const { line } = tree.getLineAndCharacterOfPosition(node.getStart(tree))
  return { file: tree.fileName, line: line + 1, text }
}

/** All specifiers that a file imports or exports from, with the node that names each. Dynamic `import('x')` is one too. */
export function imports(tree) {
  const found = []
  walk(tree, (node) => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      found.push({ specifier: node.moduleSpecifier.text, node })
    } else if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      ts.isStringLiteralLike(node.arguments[0])
    ) {
      found.push({ specifier: node.arguments[0].text, node })
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      found.push({ specifier: node.argument.literal.text, node })
    }
  })
  return found
}

const script = /\.m?ts$/
export const packageSources = (base) => filesBelow(base, 'packages', (file) => /^packages\/[^/]+\/src\//.test(file) && script.test(file))
export const typescriptFiles = (base) => ['packages', 'examples'].flatMap((folder) => filesBelow(base, folder, (file) => script.test(file)))
