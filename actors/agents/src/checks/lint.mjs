// Runs eslint, with the project's configuration where it has one, and prints each finding as one line of JSON.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire('/node_modules/');
const { ESLint } = require('eslint');
const names = ['js', 'mjs', 'cjs'].map((end) => `/workspace/eslint.config.${end}`);
const usual = { overrideConfigFile: true, overrideConfig: [require('@eslint/js').configs.recommended, { rules: { 'no-undef': 'off' } }] };
const eslint = new ESLint({ cwd: '/workspace', errorOnUnmatchedPattern: false, ...(names.some((name) => existsSync(name)) ? {} : usual) });
const asked = process.argv.length > 1 ? process.argv.slice(1) : ['.'];
for (const { filePath, messages } of await eslint.lintFiles(asked)) {
  const file = filePath.replace('/workspace/', '');
  for (const { line, ruleId, severity, message } of messages) {
    console.log(JSON.stringify(['lint', file, line ?? 1, ruleId ?? 'parse', severity === 2 ? 'medium' : 'low', message]));
  }
}
console.log(JSON.stringify(['end', '', 0, '', '', '']));
