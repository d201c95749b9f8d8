//! Pages of long answers: whole, in order, and each as readable as the whole.

use proptest::prelude::*;

use super::*;

/// What is left of a text when space, fences with their languages and the marks of lines are not looked
/// at.
fn words(text: &str) -> String {
    let (mut rest, mut inside, mut left) = (text, false, String::new());
    while let Some(at) = rest.find(FENCE_MIN) {
        left.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches('`');
        inside = !inside;
        if inside {
            rest = rest.trim_start_matches(' ');
            rest = &rest[language(rest).len()..];
        }
    }
    left.push_str(rest);
    left.retain(|c| !c.is_whitespace() && !"`>#".contains(c));
    left
}

fn fences(page: &str) -> usize {
    let mut rest = page;
    let mut count = 0;
    while let Some(at) = rest.find("```") {
        count += 1;
        rest = rest[at..].trim_start_matches('`');
    }
    count
}

#[track_caller]
fn check(text: &str) -> Vec<String> {
    let pages = pages(text);
    for page in &pages {
        assert!(units(page) <= PAGE_MAX, "{} units", units(page));
        assert!(!page.trim().is_empty());
        assert_eq!(fences(page) % 2, 0, "{page}");
    }
    pages
}

#[test]
fn a_short_answer_is_one_page_as_it_stands() {
    assert_eq!(pages("hello *you*\n"), ["hello *you*"]);
    assert_eq!(pages(" \n\n"), Vec::<String>::new());
}

#[test]
fn a_fence_is_closed_and_reopened_with_its_language() {
    let code = format!("```rust\n{}```\nend", "let x = 1;\n".repeat(300));
    let pages = check(&code);
    assert!(1 < pages.len());
    for page in &pages {
        assert!(page.starts_with("```rust\n"), "{page}");
    }
    assert_eq!(pages.concat().matches("let x = 1;").count(), 300);
}

#[test]
fn a_fence_in_a_quote_or_a_list_is_reopened_there() {
    for margin in ["> ", "  "] {
        let lines = format!("{margin}let x = 1;\n").repeat(300);
        let pages = check(&format!("hm\n\n{margin}```rs\n{lines}{margin}```\nend"));
        let next = format!("{margin}```rs\n{margin}let x = 1;\n");
        assert!(pages[1].starts_with(&next), "{:?}", &pages[1][..40]);
        assert!(pages[0].ends_with(&format!("\n{margin}```")), "{}", pages[0]);
    }
}

#[test]
fn a_fence_that_nobody_closed_is_closed() {
    assert_eq!(pages("look:\n```py\nx = 1"), ["look:\n```py\nx = 1\n```"]);
    let pages = check(&format!("```\n{}", "no end\n".repeat(900)));
    assert!(3 <= pages.len() && pages.iter().all(|page| page.starts_with("```\nno end")));
}

#[test]
fn a_page_ends_between_paragraphs_and_a_heading_stays_with_its_text() {
    let paragraph = format!("{}\n\n", "word ".repeat(150));
    let pages = check(&format!("{paragraph}{paragraph}## Then\n\n{}", paragraph.repeat(2)));
    assert_eq!(pages[0], format!("{paragraph}{paragraph}").trim_end());
    assert!(pages[1].starts_with("## Then\n\nword"), "{}", pages[1]);
}

#[test]
fn a_block_of_code_that_fits_a_page_is_not_cut() {
    let code = format!("```js\n{}```\n", "f();\n".repeat(200));
    let pages = check(&format!("{}\n\n{code}", "word ".repeat(240)));
    assert_eq!(pages[1], code.trim_end());
}

#[test]
fn forty_blocks_of_code_stay_whole_and_in_order() {
    let block = |n: usize| format!("Step {n}:\n```sh\n{}```\n", format!("run {n}\n").repeat(20));
    let text: String = (0..40).map(block).collect();
    let pages = check(&text);
    assert_eq!(words(&pages.join("\n")), words(&text));
    assert!(pages.iter().all(|page| page.starts_with("Step ")), "each begins with its block");
}

#[test]
fn a_line_of_300_kilobytes_is_whole() {
    for word in ["word ", "x", "é", "👩‍👩‍👧‍👦", "שלום ", "[a](https://example.org/) ", "`", "["]
    {
        let text = word.repeat(300_000 / word.len());
        let pages = check(&text);
        assert_eq!(words(&pages.join("\n")), words(&text), "{word}");
    }
}

#[test]
fn what_people_see_as_one_character_is_not_cut() {
    for (seen, word) in [("👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"), ("🇩🇪", "🇩🇪"), ("ë", "e\u{308}")]
    {
        for page in check(&format!("x{}", word.repeat(3000))) {
            let rest = page.replace(word, "").replace('x', "");
            assert_eq!(rest, "", "{seen}");
        }
    }
}

#[test]
fn a_link_is_not_cut() {
    let links =
        ["[a link with words](https://example.org/a/b?c=d)", "https://example.org/abcdefgh"];
    for link in links.into_iter().chain(["`some code`", "<@1442918200000000001>"]) {
        for fill in 1..60 {
            let text = format!("{}{}", "x".repeat(fill), format!("{link},").repeat(200));
            let pages = check(&text);
            let whole: usize = pages.iter().map(|page| page.matches(link).count()).sum();
            assert_eq!(whole, 200, "{link} behind {fill}");
        }
    }
}

#[test]
fn a_long_quote_and_a_long_heading_go_on_as_such() {
    for mark in ["> ", "## ", "-# "] {
        let pages = check(&format!("{mark}{}", "word ".repeat(1000)));
        assert!(2 < pages.len() && pages.iter().all(|page| page.starts_with(mark)), "{mark}");
    }
}

#[test]
fn a_table_becomes_aligned_code() {
    let text = "Before\n\n| Name | **Size** |\n|:-----|-----:|\n| `日本` | 7 |\n| a\\|b | 1000 |\n\nAfter | all";
    let shown =
        "Before\n\n```\nName | Size\n-----+-----\n日本 |    7\na|b  | 1000\n```\n\nAfter | all";
    assert_eq!(pages(text), [shown]);
    let code = "```\n| a | b |\n|---|---|\n```";
    assert_eq!(pages(code), [code], "what is code already stays");
    assert_eq!(pages("a | b\nc | d"), ["a | b\nc | d"], "no table without its rule");
}

#[test]
fn a_table_longer_than_a_page_is_code_on_each() {
    let row = "| some name | a value |\n";
    let pages = check(&format!("| Name | Value |\n|---|---|\n{}", row.repeat(400)));
    assert!(pages.iter().all(|page| page.starts_with("```\n") && page.ends_with("\n```")));
    assert_eq!(pages.concat().matches("some name").count(), 400);
}

#[test]
fn a_table_never_grows_without_bound() {
    let text = format!("{}\n{}\n{}", "|a".repeat(20), "|-".repeat(20), "|\n".repeat(5000));
    let shown: usize = check(&text).iter().map(String::len).sum();
    assert!(shown <= text.len() * 4 + 4000, "{shown} of {}", text.len());
}

#[test]
fn the_first_page_is_the_beginning_within_its_room() {
    let text = format!("```rust\n{}```", "let x = 1;\n".repeat(3000));
    let first = first_page(&text, 1800);
    assert!(units(&first) <= 1800 && first.starts_with("```rust\n") && first.ends_with("\n```"));
}

/// Texts with all that a page can be cut in.
fn markdown() -> impl Strategy<Value = String> {
    let block = prop_oneof![
        "([a-z ]{1,400}\n){1,12}",
        "([a-z ]{1,400}\n){1,12}".prop_map(|lines| format!("```rust\n{lines}```\n")),
        "([a-z ]{1,90}\n){1,60}".prop_map(|lines| format!("```\n{lines}")),
        "(- [a-z ]{1,90}\n){1,30}",
        "(> [a-z👍é ]{1,900}\n){1,5}",
        "## [a-z ]{1,40}\n\n",
        "[a-z👍é]{1,2500}\n",
        "\n{1,5}",
        "[a-z]{0,5}```[a-z]{0,5}\n",
    ];
    prop::collection::vec(block, 0..8).prop_map(|blocks| blocks.concat())
}

proptest! {
    // Long texts: fewer cases say as much.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_page_is_too_long_and_nothing_visible_is_lost(text in "(\\PC|\n| ){0,6000}") {
        let text = text.replace(['`', '|'], "'");
        let pages = check(&text);
        prop_assert_eq!(words(&pages.join("\n")), words(&text));
    }

    #[test]
    fn every_page_closes_its_fences_and_the_words_are_whole_and_in_order(text in markdown()) {
        let pages = check(&text);
        prop_assert_eq!(words(&pages.join("\n")), words(&text));
    }

    #[test]
    fn fences_of_any_kind_never_make_a_page_too_long(
        text in "(([ >]{0,14}`{3,12}[a-z]{0,90}\n)|([a-z `]{0,900}\n)){0,30}",
    ) {
        check(&text);
    }

    #[test]
    fn tables_of_any_kind_lose_no_cell(
        rows in prop::collection::vec(prop::collection::vec("[a-z👍 ]{0,60}", 1..6), 1..40),
    ) {
        let columns = rows[0].len();
        let row = |cells: &Vec<String>| format!("|{}|\n", cells.join("|"));
        let rule = format!("|{}\n", "---|".repeat(columns));
        let text = format!("{}{rule}{}", row(&rows[0]), rows[1..].iter().map(row).collect::<String>());
        let seen = |text: &str| {
            text.chars().filter(|c| !c.is_whitespace() && !"|-+`".contains(*c)).collect::<String>()
        };
        prop_assert_eq!(seen(&check(&text).concat()), seen(&text));
    }
}
