//! Checks of numbers: sums against their parts, and parts against the repository.

use std::path::Path;

use super::{Check, Draft, Files};
use crate::git;
use crate::history::CONTRIBUTORS_LISTED;
use crate::{Error, History, Hotspots, Inventory, Manifests, Watch, files};

pub(super) fn inventory_sums(inventory: &Inventory) -> Check {
    let mut draft = Draft::new("inventory-sums");
    let (total, binary, uncounted) = (inventory.total, inventory.binary, inventory.uncounted);
    let tallies = || inventory.languages.iter().map(|row| row.tally);
    let files = tallies().map(|tally| tally.files).sum::<u64>() + binary.files + uncounted.files;
    let bytes = tallies().map(|tally| tally.bytes).sum::<u64>() + binary.bytes + uncounted.bytes;
    draft.expect_equal("files of all languages", total.files, files);
    draft.expect_equal("bytes of all languages", total.bytes, bytes);
    draft.expect_equal(
        "lines of all languages",
        total.lines.total,
        tallies().map(|tally| tally.lines.total).sum(),
    );
    for row in &inventory.languages {
        let lines = row.tally.lines;
        draft.expect_equal(&row.language, lines.total, lines.code + lines.comment + lines.blank);
    }
    draft.finish("totals against the sums over languages")
}

pub(super) fn inventory_repository(inventory: &Inventory, files: &Files<'_>) -> Check {
    let mut draft = Draft::new("inventory-repository");
    draft.expect_equal("files", inventory.total.files, files.count);
    draft.expect_equal("bytes", inventory.total.bytes, files.bytes);
    draft.finish("the inventory against a second listing by git")
}

pub(super) fn largest_files(inventory: &Inventory, files: &Files<'_>) -> Check {
    let mut draft = Draft::new("largest-files");
    for file in &inventory.largest {
        let found = files.by_name.get(&file.path).map(|found| found.bytes);
        draft.expect(found == Some(file.bytes), || match found {
            Some(bytes) => format!("`{}`: stated {} bytes, found {bytes}", file.path, file.bytes),
            None => format!("`{}` is not in the repository", file.path),
        });
    }
    let stated = inventory.largest.first().map_or(0, |file| file.bytes);
    draft.expect_equal("size of the largest file", stated, files.bytes_most);
    draft.finish("the largest files against their sizes")
}

pub(super) fn history_head(repo: &Path, history: &History, watch: &Watch) -> Result<Check, Error> {
    let mut draft = Draft::new("history-head");
    let head = git::head(repo, watch)?;
    draft.expect(head == history.head, || format!("stated `{}`, found `{head}`", history.head));
    Ok(draft.finish("the commit of the history against the one that is checked out"))
}

pub(super) fn history_commits(repo: &Path, history: &History, watch: &Watch) -> Result<Check, Error> {
    let mut draft = Draft::new("history-commits");
    let root = files::check_folder(repo)?;
    let found = git::line(&root, &["rev-list", "--count", "HEAD"], watch)?.parse().unwrap_or(0);
    if history.truncated {
        let evidence = || format!("commits: stated {}, found only {found}", history.commits);
        draft.expect(history.commits <= found, evidence);
    } else {
        draft.expect_equal("commits", history.commits, found);
    }
    Ok(draft.finish("the number of commits against a second count"))
}

pub(super) fn history_sums(history: &History) -> Check {
    let mut draft = Draft::new("history-sums");
    draft.expect_equal(
        "commits by week, and those without a credible date",
        history.commits,
        history.misdated + history.weeks.iter().map(|week| week.commits).sum::<u64>(),
    );
    let people = &history.contributors;
    draft.expect_equal(
        "contributors listed",
        people.len() as u64,
        history.contributors_total.min(CONTRIBUTORS_LISTED as u64),
    );
    let sums = [
        ("commits by contributor", history.commits, people.iter().map(|one| one.commits).sum::<u64>()),
        ("lines added by contributor", history.added, people.iter().map(|one| one.added).sum()),
        ("lines deleted by contributor", history.deleted, people.iter().map(|one| one.deleted).sum()),
    ];
    let all_listed = history.contributors_total == people.len() as u64;
    for (what, stated, found) in sums {
        let holds = if all_listed { stated == found } else { stated >= found };
        draft.expect(holds, || format!("{what}: stated {stated}, found {found}"));
    }
    draft.expect(history.first <= history.last, || {
        format!("`{:?}` is after `{:?}`", history.first, history.last)
    });
    draft.finish("totals against the sums over weeks and contributors")
}

pub(super) fn churn_files(history: &History, files: &Files<'_>) -> Check {
    let mut draft = Draft::new("churn-files");
    for file in &history.churn {
        let found = files.names.contains(&file.path);
        draft.expect(found == file.present, || match file.present {
            true => format!("`{}` is not in the repository", file.path),
            false => format!("`{}` is in the repository, stated as gone", file.path),
        });
        draft.expect(file.commits <= history.commits, || {
            format!("`{}`: {} commits of {} in all", file.path, file.commits, history.commits)
        });
    }
    draft.finish("often changed files against the repository")
}

pub(super) fn bus_factors(history: &History, files: &Files<'_>) -> Check {
    let mut draft = Draft::new("bus-factors");
    for folder in &history.folders {
        let path = &folder.path;
        draft.expect(path == "." || files.names.contains(&format!("{path}/")), || {
            format!("`{path}` is not a folder at the top")
        });
        let (factor, authors) = (folder.bus_factor, folder.authors);
        let possible = factor >= 1 && factor <= authors && authors <= history.contributors_total;
        draft.expect(possible, || format!("`{path}`: a bus factor of {factor} among {authors} authors"));
        draft.expect_equal(path, factor, folder.key_authors.len() as u64);
    }
    draft.finish("folders and their key authors against the history")
}

pub(super) fn manifest_files(manifests: &Manifests, files: &Files<'_>) -> Check {
    let mut draft = Draft::new("manifest-files");
    let stated = manifests.manifests.iter().map(|one| &one.path);
    for path in stated.chain(manifests.findings.iter().map(|one| &one.path)) {
        draft.expect(files.by_name.contains_key(path), || format!("`{path}` is not in the repository"));
    }
    let found = manifests.manifests.iter().map(|one| one.dependencies.len() as u64 + one.omitted).sum();
    draft.expect_equal("dependencies", manifests.dependencies_total, found);
    draft.finish("manifests and their number of dependencies against the repository")
}

pub(super) fn hotspot_sums(hotspots: &Hotspots, inventory: &Inventory) -> Check {
    let mut draft = Draft::new("hotspot-sums");
    draft.expect_equal("notes", hotspots.notes_total, hotspots.languages.iter().map(|row| row.notes).sum());
    let functions: u64 = hotspots.languages.iter().map(|row| row.functions).sum();
    let (long, listed) = (hotspots.long_functions_total, hotspots.long_functions.len() as u64);
    draft.expect(long <= functions, || format!("{long} long functions of {functions} in all"));
    draft.expect(listed <= long, || format!("{listed} long functions listed of {long}"));
    let notes = hotspots.notes.len() as u64;
    draft.expect(notes <= hotspots.notes_total, || {
        format!("{notes} notes listed of {}", hotspots.notes_total)
    });
    for row in &hotspots.languages {
        let language = &row.language;
        let known =
            inventory.languages.iter().find(|one| one.language == *language).map_or(0, |one| one.tally.files);
        draft.expect(row.files <= known, || {
            format!("{language}: {} files parsed of {known} counted", row.files)
        });
    }
    draft.finish("hot spots against their sums and the inventory")
}
