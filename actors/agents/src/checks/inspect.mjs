// Reads the syntax tree of every file that is named as an argument, or of all; runs nothing of the project. Each finding
// is one line of JSON. Defence in depth, no proof of anything: a program that wants to hide finds a way.
import { readFileSync, readdirSync, existsSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';

const require = createRequire('/node_modules/');
const espree = require('espree');
const ROOT = '/workspace/';
const SHELLS = new Set(['exec', 'execSync']);
const say = (...finding) => console.log(JSON.stringify(finding));

function files(folder = '') {
  const found = [];
  for (const each of readdirSync(ROOT + folder, { withFileTypes: true })) {
    const path = folder + each.name;
    if (each.isDirectory() && each.name !== 'node_modules' && each.name !== '.git') found.push(...files(path + '/'));
    else if (each.isFile() && /\.[cm]?js$/.test(each.name)) found.push(path);
  }
  return found.sort();
}

function parsed(file) {
  const text = readFileSync(ROOT + file, 'utf8').replace(/^#!.*/, '');
  const options = { ecmaVersion: 'latest', loc: true, ecmaFeatures: { jsx: true, globalReturn: !file.endsWith('.mjs') } };
  const kinds = file.endsWith('.cjs') ? ['commonjs'] : file.endsWith('.mjs') ? ['module'] : ['module', 'commonjs'];
  let first;
  for (const sourceType of kinds) {
    try {
      return espree.parse(text, { ...options, sourceType });
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}

function* nodes(root) {
  const left = [root];
  while (left.length) {
    const node = left.pop();
    yield node;
    for (const value of Object.values(node)) {
      for (const each of Array.isArray(value) ? value : [value]) {
        if (each && typeof each.type === 'string') left.push(each);
      }
    }
  }
}

const isConstant = (node) => node?.type === 'Literal';
const isRequire = (node) => node?.type === 'CallExpression' && node.callee.name === 'require' && isConstant(node.arguments[0]);

function shells(tree) {
  // Names by which the module or its functions that start a shell are known.
  const modules = new Set(), functions = new Set();
  for (const node of nodes(tree)) {
    if (node.type === 'ImportDeclaration' && /^(node:)?child_process$/.test(node.source.value)) {
      for (const each of node.specifiers) {
        if (each.type !== 'ImportSpecifier') modules.add(each.local.name);
        else if (SHELLS.has(each.imported.name)) functions.add(each.local.name);
      }
    }
    if (node.type === 'VariableDeclarator' && isRequire(node.init) && /^(node:)?child_process$/.test(node.init.arguments[0].value)) {
      if (node.id.type === 'Identifier') modules.add(node.id.name);
      else for (const each of node.id.properties ?? []) if (SHELLS.has(each.key?.name)) functions.add(each.value?.name);
    }
  }
  return { modules, functions };
}

function patterns(tree, file) {
  const { modules, functions } = shells(tree);
  const found = (node, message, severity = 'high') =>
    say('patterns', file, node.loc.start.line, 'dangerous-call', severity, message);
  for (const node of nodes(tree)) {
    if (node.type !== 'CallExpression' && node.type !== 'NewExpression') continue;
    const { callee } = node;
    if (callee.name === 'eval' && !isConstant(node.arguments[0])) found(node, '`eval` evaluates a text as a program');
    else if (callee.name === 'Function' && node.arguments.length) found(node, '`Function` makes a program of a text');
    else if (functions.has(callee.name)) found(node, `\`${callee.name}\` runs a shell`);
    else if (callee.type === 'MemberExpression') {
      const [object, name] = [callee.object.name, callee.property.name];
      if (modules.has(object) && SHELLS.has(name)) found(node, `\`${object}.${name}\` runs a shell`);
      if (object === 'vm' && /^run|^compile/.test(name ?? '')) found(node, `\`vm.${name}\` runs a text as a program`);
      if (object === 'process' && name === 'binding') found(node, '`process.binding` reaches the inside of Node', 'medium');
    }
  }
}

function imports(tree, file) {
  const wanted = tree.body.flatMap((node) => {
    if (/^(Import|ExportNamed|ExportAll)Declaration$/.test(node.type) && node.source) return [node.source];
    if (node.type === 'VariableDeclaration') return node.declarations.filter((one) => isRequire(one.init)).map((one) => one.init.arguments[0]);
    return node.type === 'ExpressionStatement' && isRequire(node.expression) ? [node.expression.arguments[0]] : [];
  });
  for (const { value, loc } of wanted) {
    if (typeof value !== 'string' || /^[./#]|^file:|^data:/.test(value) || isBuiltin(value)) continue;
    const name = value.split('/').slice(0, value.startsWith('@') ? 2 : 1).join('/');
    if (own.has(name) || existsSync('/node_modules/' + name) || existsSync(ROOT + 'node_modules/' + name)) continue;
    say('imports', file, loc.start.line, 'dependency-not-in-image', 'medium', name);
  }
}

const own = new Set();
try {
  own.add(JSON.parse(readFileSync(ROOT + 'package.json', 'utf8')).name);
} catch {
  // Without one the project has no name of its own.
}
const asked = process.argv.length > 1 ? process.argv.slice(1) : files();
for (const file of asked) {
  try {
    const tree = parsed(file);
    patterns(tree, file);
    imports(tree, file);
  } catch (error) {
    say('syntax', file, error.lineNumber ?? 1, 'syntax-error', 'high', String(error.message));
  }
}
say('end', '', 0, '', '', String(asked.length));
