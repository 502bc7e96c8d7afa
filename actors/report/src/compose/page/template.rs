//! The page's template and its style sheet.

/// Light and dark by the reader's setting; printed without the navigation.
pub(super) const STYLE: &str = r##"
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #566072; --line: #d8dce2;
  --bar: #2f6fd0; --link: #1f5bb5; --act: #b3261e; --know: #7a5200; --good: #1b6b3a; --code: #f1f3f6; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1a2029; --ink: #e4e9f0; --soft: #a0abbb;
  --line: #333c49; --bar: #6ba3f5; --link: #8ab8ff; --act: #ff9b92; --know: #f0c36a; --good: #7fd6a0; --code: #222a35; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main, footer { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.25rem; }
header { padding-bottom: 0; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 0 0 .8rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .5rem; }
a { color: var(--link); }
.goal { font-size: 1.1rem; margin: .2rem 0 .8rem; white-space: pre-line; overflow-wrap: anywhere; }
.meta, .soft, footer { color: var(--soft); font-size: .9rem; }
.meta code { overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; list-style: none; padding: 0; margin: 1rem 0 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1.25rem;
  margin-bottom: 1.25rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 0 0 1.25rem; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.45rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.standout { list-style: none; padding: 0; margin: 0; }
.standout li { display: grid; grid-template-columns: 3.6rem 1fr; gap: .6rem; padding: .45rem 0;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
.standout li:first-child { border-top: 0; }
.tag { font-weight: 700; font-size: .85rem; padding-top: .1rem; }
.act { color: var(--act); } .know { color: var(--know); } .good { color: var(--good); }
figure { margin: 0 0 1rem; }
figcaption { font-weight: 600; margin-bottom: .4rem; }
svg { display: block; width: 100%; max-width: 760px; height: auto; }
svg text { font-family: inherit; }
svg [fill="#2F6FD0"] { fill: var(--bar); }
svg text[fill="#333333"] { fill: var(--ink); }
svg [stroke="#D8DCE2"] { stroke: var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .3rem 0 .6rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .38rem .6rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td { overflow-wrap: anywhere; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .87em; }
pre { background: var(--code); border-radius: .4rem; padding: .8rem 1rem; margin: .3rem 0 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
blockquote { margin: 0 0 .4rem; }
.cite { font-size: .88rem; color: var(--soft); margin: .6rem 0 0; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
@media print { nav { display: none; } body { background: #fff; } section { break-inside: avoid-page; border: 0; padding: 0; } }
"##;

/// The page. The sections follow the questions of a newcomer.
pub(super) const PAGE: &str = r##"
{%- macro more(all, shown) %}{% if all > shown %}<p class="soft">And {{ (all - shown)|number }} more.</p>{% endif %}{% endmacro %}
{%- macro passages(answer) %}
{% for one in answer.passages %}
<p class="cite"><code>{{ one.file|name }}:{{ one.start_line }}–{{ one.end_line }}</code>{% if one.heading %}, “{{ one.heading|name }}”{% endif %}</p>
<blockquote><pre>{{ one.text|quote }}</pre></blockquote>
{% else %}
<p class="soft">The documentation does not seem to say.</p>
{% endfor %}
{% endmacro -%}
{% set inventory = inputs.inventory %}{% set history = inputs.history %}{% set hotspots = inputs.hotspots %}
{% set manifests = inputs.manifests %}{% set docs = inputs.docs %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ meta.title|name }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<header>
<h1>{{ meta.title|name }}</h1>
{% if meta.goal %}<p class="goal">{{ meta.goal }}</p>{% endif %}
<p class="meta">Repository <code>{{ meta.repo|name }}</code> at commit <code>{{ meta.commit|name }}</code>, read on <time datetime="{{ meta.generated_at|name }}">{{ meta.generated_at|name }}</time>.</p>
<nav aria-label="Sections"><ul>
<li><a href="#standout">What stands out</a></li>
<li><a href="#documentation">Documentation</a></li>
<li><a href="#inventory">Inventory</a></li>
<li><a href="#history">History</a></li>
<li><a href="#hotspots">Hot spots</a></li>
<li><a href="#dependencies">Dependencies</a></li>
<li><a href="#review">Review</a></li>
</ul></nav>
</header>
<main>
<dl class="tiles">
<div><dt>Files</dt><dd>{{ inventory.total.files|number }}</dd></div>
<div><dt>Lines</dt><dd>{{ inventory.total.lines.total|number }}</dd></div>
<div><dt>Size</dt><dd>{{ inventory.total.bytes|bytes }}</dd></div>
<div><dt>Commits</dt><dd>{{ history.commits|number }}</dd></div>
<div><dt>Contributors</dt><dd>{{ history.contributors_total|number }}</dd></div>
<div><dt>Checks passed</dt><dd>{{ review.passed }} of {{ review.checks|length }}</dd></div>
</dl>

<section id="standout" aria-labelledby="standout-heading">
<h2 id="standout-heading">What stands out</h2>
<ul class="standout">
{% for one in highlights %}
<li><span class="tag {{ one.weight }}">{{ one.label }}</span><span>{{ one.text|name }}</span></li>
{% endfor %}
</ul>
</section>

{% if docs.goal %}
<section id="goal" aria-labelledby="goal-heading">
<h2 id="goal-heading">What the documentation says to your goal</h2>
{{ passages(docs.goal) }}
</section>
{% endif %}

<section id="documentation" aria-labelledby="documentation-heading">
<h2 id="documentation-heading">What the documentation says</h2>
<p class="soft">Quoted word for word from {{ docs.documents|number }} documents with {{ docs.sections|number }} sections.</p>
{% for answer in docs.answers %}
<h3>{{ answer.question|name }}</h3>
{{ passages(answer) }}
{% endfor %}
</section>

<section id="inventory" aria-labelledby="inventory-heading">
<h2 id="inventory-heading">What is in it</h2>
{% if inventory.languages %}
<figure><figcaption>Lines by language</figcaption>{{ charts.languages|safe }}</figure>
{% endif %}
<div class="scroll"><table>
<caption>Files and lines by language</caption>
<thead><tr><th scope="col">Language</th><th scope="col" class="n">Files</th><th scope="col" class="n">Lines</th><th scope="col" class="n">Code</th><th scope="col" class="n">Comments</th><th scope="col" class="n">Blank</th><th scope="col" class="n">Share</th></tr></thead>
<tbody>
{% for row in inventory.languages[:limits.languages] %}
<tr><td>{{ row.language }}</td><td class="n">{{ row.tally.files|number }}</td><td class="n">{{ row.tally.lines.total|number }}</td><td class="n">{{ row.tally.lines.code|number }}</td><td class="n">{{ row.tally.lines.comment|number }}</td><td class="n">{{ row.tally.lines.blank|number }}</td><td class="n">{{ row.tally.lines.total|percent(inventory.total.lines.total) }}</td></tr>
{% endfor %}
</tbody></table></div>
{{ more(inventory.languages|length, limits.languages) }}
<p class="soft">Beside them {{ inventory.binary.files|number }} binary files ({{ inventory.binary.bytes|bytes }}) and {{ inventory.uncounted.files|number }} files whose lines were not counted. Comments are told by how lines begin, so approximately.</p>
<div class="scroll"><table>
<caption>Largest files</caption>
<thead><tr><th scope="col">File</th><th scope="col" class="n">Size</th></tr></thead>
<tbody>
{% for file in inventory.largest %}
<tr><td><code>{{ file.path|name }}</code></td><td class="n">{{ file.bytes|bytes }}</td></tr>
{% endfor %}
</tbody></table></div>
</section>

<section id="history" aria-labelledby="history-heading">
<h2 id="history-heading">Who works on it</h2>
<p>{{ history.commits|number }} commits from <time>{{ history.first|day }}</time> to <time>{{ history.last|day }}</time>, {{ history.added|number }} lines added and {{ history.deleted|number }} deleted{% if history.truncated or history.without_lines %}; the history is incomplete{% endif %}.</p>
<figure><figcaption>Activity</figcaption>{{ charts.activity|safe }}</figure>
<details><summary>The last {{ [history.weeks|length, limits.rows]|min }} weeks with commits as a table</summary>
<div class="scroll"><table>
<caption>Commits by ISO week</caption>
<thead><tr><th scope="col">Week</th><th scope="col" class="n">Commits</th></tr></thead>
<tbody>
{% for week in (history.weeks|reverse)[:limits.rows] %}
<tr><td>{{ week.week }}</td><td class="n">{{ week.commits|number }}</td></tr>
{% endfor %}
</tbody></table></div></details>
<h3>Contributors</h3>
<figure><figcaption>Commits by contributor</figcaption>{{ charts.contributors|safe }}</figure>
<div class="scroll"><table>
<caption>Contributors by commits</caption>
<thead><tr><th scope="col">Name</th><th scope="col" class="n">Commits</th><th scope="col" class="n">Added</th><th scope="col" class="n">Deleted</th><th scope="col" class="n">First</th><th scope="col" class="n">Last</th></tr></thead>
<tbody>
{% for one in history.contributors[:limits.contributors] %}
<tr><td>{{ one.name|name }}</td><td class="n">{{ one.commits|number }}</td><td class="n">{{ one.added|number }}</td><td class="n">{{ one.deleted|number }}</td><td class="n">{{ one.first|day }}</td><td class="n">{{ one.last|day }}</td></tr>
{% endfor %}
</tbody></table></div>
{{ more(history.contributors_total, limits.contributors) }}
<h3>How few people know most of a folder</h3>
<p class="soft">The bus factor is the smallest number of people who together made more than half of the line changes.</p>
<div class="scroll"><table>
<caption>Bus factor by top-level folder</caption>
<thead><tr><th scope="col">Folder</th><th scope="col" class="n">Bus factor</th><th scope="col" class="n">Authors</th><th scope="col" class="n">Lines changed</th><th scope="col">Key authors</th></tr></thead>
<tbody>
{% for one in history.folders %}
<tr><td><code>{{ one.path|name }}</code></td><td class="n">{{ one.bus_factor|number }}</td><td class="n">{{ one.authors|number }}</td><td class="n">{{ one.lines_changed|number }}</td><td>{{ one.key_authors|join(", ")|name }}</td></tr>
{% endfor %}
</tbody></table></div>
<h3>Files changed most often</h3>
{% if history.churn %}
<figure><figcaption>Commits by file</figcaption>{{ charts.churn|safe }}</figure>
{% endif %}
<div class="scroll"><table>
<caption>Files by commits</caption>
<thead><tr><th scope="col">File</th><th scope="col" class="n">Commits</th><th scope="col" class="n">Added</th><th scope="col" class="n">Deleted</th></tr></thead>
<tbody>
{% for file in history.churn %}
<tr><td><code>{{ file.path|name }}</code>{% if not file.present %} <span class="soft">(gone)</span>{% endif %}</td><td class="n">{{ file.commits|number }}</td><td class="n">{{ file.added|number }}</td><td class="n">{{ file.deleted|number }}</td></tr>
{% endfor %}
</tbody></table></div>
</section>

<section id="hotspots" aria-labelledby="hotspots-heading">
<h2 id="hotspots-heading">Where the code asks for attention</h2>
<div class="scroll"><table>
<caption>What was parsed</caption>
<thead><tr><th scope="col">Language</th><th scope="col" class="n">Files</th><th scope="col" class="n">Functions</th><th scope="col" class="n">Notes</th></tr></thead>
<tbody>
{% for row in hotspots.languages %}
<tr><td>{{ row.language }}</td><td class="n">{{ row.files|number }}</td><td class="n">{{ row.functions|number }}</td><td class="n">{{ row.notes|number }}</td></tr>
{% else %}
<tr><td colspan="4">No file in Rust, Python, JavaScript, TypeScript or Go.</td></tr>
{% endfor %}
</tbody></table></div>
<p class="soft">{{ hotspots.syntax_errors.total|number }} files have syntax the parser did not understand, {{ hotspots.oversized.total|number }} were too large to parse.</p>
{% if hotspots.unparsed.total %}
<p>{{ hotspots.unparsed.total|number }} files could not be parsed:{% for path in hotspots.unparsed.paths %} <code>{{ path|name }}</code>{% endfor %}</p>
{{ more(hotspots.unparsed.total, hotspots.unparsed.paths|length) }}
{% endif %}
<div class="scroll"><table>
<caption>Functions longer than {{ long_function_lines }} lines: {{ hotspots.long_functions_total|number }}</caption>
<thead><tr><th scope="col">Function</th><th scope="col">Where</th><th scope="col" class="n">Lines</th></tr></thead>
<tbody>
{% for one in hotspots.long_functions %}
<tr><td><code>{{ one.name|name }}</code></td><td><code>{{ one.file|name }}:{{ one.start_line }}</code></td><td class="n">{{ one.lines|number }}</td></tr>
{% else %}
<tr><td colspan="3">None.</td></tr>
{% endfor %}
</tbody></table></div>
{{ more(hotspots.long_functions_total, hotspots.long_functions|length) }}
<div class="scroll"><table>
<caption>Notes left in comments: {{ hotspots.notes_total|number }}</caption>
<thead><tr><th scope="col">Note</th><th scope="col">Where</th></tr></thead>
<tbody>
{% for note in hotspots.notes[:limits.notes] %}
<tr><td>{{ note.text|name }}</td><td><code>{{ note.file|name }}:{{ note.line }}</code></td></tr>
{% else %}
<tr><td colspan="2">None.</td></tr>
{% endfor %}
</tbody></table></div>
{{ more(hotspots.notes_total, limits.notes) }}
</section>

<section id="dependencies" aria-labelledby="dependencies-heading">
<h2 id="dependencies-heading">What it depends on</h2>
<p>{{ manifests.dependencies_total|number }} dependencies in {{ manifests.manifests|length|number }} manifests.</p>
{% if manifests.findings %}
<div class="scroll"><table>
<caption>Manifests that could not be read in full</caption>
<thead><tr><th scope="col">Manifest</th><th scope="col">Problem</th></tr></thead>
<tbody>
{% for one in manifests.findings[:limits.findings] %}
<tr><td><code>{{ one.path|name }}{% if one.line %}:{{ one.line }}{% endif %}</code></td><td>{{ one.problem|name }}</td></tr>
{% endfor %}
</tbody></table></div>
{{ more(manifests.findings|length, limits.findings) }}
{% endif %}
{% for one in manifests.manifests[:limits.manifests] %}
<details><summary><code>{{ one.path|name }}</code> <span class="soft">{{ one.ecosystem }}{% if one.name %}, {{ one.name|name }}{% endif %}{% if one.version %} {{ one.version|name }}{% endif %}, {{ (one.dependencies|length + one.omitted)|number }} dependencies</span></summary>
<div class="scroll"><table>
<caption>Dependencies of {{ one.path|name }}</caption>
<thead><tr><th scope="col">Name</th><th scope="col">Requirement</th><th scope="col">Kind</th></tr></thead>
<tbody>
{% for dependency in one.dependencies[:limits.dependencies] %}
<tr><td>{{ dependency.name|name }}</td><td><code>{{ dependency.requirement|name }}</code>{% if dependency.inherited %} <span class="soft">(inherited)</span>{% endif %}</td><td>{{ dependency.kind }}</td></tr>
{% else %}
<tr><td colspan="3">None.</td></tr>
{% endfor %}
</tbody></table></div>
{{ more(one.dependencies|length + one.omitted, limits.dependencies) }}
</details>
{% endfor %}
{{ more(manifests.manifests|length, limits.manifests) }}
</section>

<section id="review" aria-labelledby="review-heading">
<h2 id="review-heading">Review</h2>
<p>Every number and quotation above was looked up a second time. {{ review.passed }} checks passed, {{ review.failed }} failed.</p>
<div class="scroll"><table>
<caption>Checks</caption>
<thead><tr><th scope="col">Check</th><th scope="col">Result</th><th scope="col">Detail</th></tr></thead>
<tbody>
{% for check in review.checks %}
<tr><td><code>{{ check.name|name }}</code></td><td>{% if check.passed %}<span class="good">passed</span>{% else %}<strong class="act">failed</strong>{% endif %}</td><td>{{ check.detail|name }}{% for one in check.evidence %}<br>{{ one|name }}{% endfor %}</td></tr>
{% endfor %}
</tbody></table></div>
</section>
</main>
<footer>Computed from the files and the git history alone, without a language model.</footer>
</body>
</html>
"##;
