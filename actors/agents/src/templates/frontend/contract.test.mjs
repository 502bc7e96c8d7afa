// What every page promises. This file is not written by a model.
import test from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';

const here = new URL('.', import.meta.url);
const pages = readdirSync(here).filter((name) => name.endsWith('.html'));
const texts = pages.map((name) => [name, readFileSync(new URL(name, here), 'utf8')]);

test('a page names files of the project alone', () => {
  for (const [page, text] of texts) {
    for (const [, name] of text.matchAll(/<(?:script|link|img)\b[^>]*?\s(?:src|href)\s*=\s*["']?([^"'\s>]+)/gi)) {
      const file = new URL(name.replace(/^\//, ''), here);
      assert.equal(file.protocol, 'file:', `${page} names ${name}`);
      assert.ok(existsSync(file), `${page} names ${name}, which is not there`);
    }
  }
});

test('a page holds no program itself', () => {
  for (const [page, text] of texts) {
    assert.doesNotMatch(text, /<script\b(?![^>]*\ssrc\s*=)[^>]*>/i, `${page} has a script without a file`);
    assert.doesNotMatch(text, /<[a-z][^>]*\son[a-z]+\s*=/i, `${page} has a handler as an attribute`);
  }
});
