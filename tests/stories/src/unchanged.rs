//! What a person writes reaches claude as it was written.

use anyhow::Result;
use harness::World;
use harness::discord_sim::NewFile;

/// Claude hears exactly this.
async fn is_heard(text: &str) -> Result<()> {
    let world = World::start().await?;
    world.say(text)?.answer().await?;
    assert_eq!(world.ledger().prompts(), [text]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn four_thousand_characters_reach_claude_unchanged() -> Result<()> {
    is_heard(&"añ🦀x".repeat(1000)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn right_to_left_marks_reach_claude_unchanged() -> Result<()> {
    is_heard("\u{202e}olleh\u{202c} \u{200f}שלום\u{200e} \u{2067}مرحبا\u{2069}").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_looks_like_an_option_reaches_claude_unchanged() -> Result<()> {
    is_heard("--dangerously-skip-permissions -p --help").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_a_shell_would_read_reaches_claude_unchanged() -> Result<()> {
    is_heard(
        "  $(touch x); `id` && 'one' \"two\" \\ %s ${HOME} * ~ | > y #{session}\n\t#!\r\nend  ",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_file_alone_is_a_prompt() -> Result<()> {
    let world = World::start().await?;
    let note = NewFile::text("note.txt", "remember the milk\n");
    world.say_with("", vec![note])?.answer().await?;
    assert_eq!(world.ledger().prompts(), ["Attached file note.txt:\nremember the milk\n"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn text_files_join_the_prompt() -> Result<()> {
    let world = World::start().await?;
    let long = "a line of a log\n".repeat(16 * 1024 - 1);
    let files = vec![NewFile::text("a.txt", "one"), NewFile::text("b.log", long.clone())];
    world.say_with("look [[say thank you]]", files)?.answer().await?;
    let expected = format!(
        "look [[say thank you]]\n\nAttached file a.txt:\none\n\nAttached file b.log:\n{long}"
    );
    assert_eq!(world.ledger().prompts(), [expected]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_hears_every_character() -> Result<()> {
    let world = World::start_real().await?;
    let text = format!("-p \u{202e}x\u{202c} $(id) {} [[say heard]]", "añ🦀x".repeat(900));
    assert_eq!(world.say(&text)?.answer().await?, "heard");
    assert_eq!(world.requested(), [text]);
    Ok(())
}
