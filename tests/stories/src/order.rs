//! Several questions at once.

use anyhow::Result;
use harness::World;

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_a_thread_are_answered_one_after_the_other() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[think hm]] [[wait go]] [[say first]]")?;
    world.reached("go").await?;
    let second = first.follow_up("[[say second]]").await?;
    let third = first.follow_up("[[recall]]").await?;
    second.is_seen().await?;
    third.is_seen().await?;
    assert_eq!(world.ledger().count("begin"), 1, "the second waits for the first");
    world.release("go")?;
    third.mark().await?;
    let said = first.said_in_thread()?;
    assert_eq!(said[..2], ["first", "second"]);
    assert!(
        said[2].contains("1. [[think hm]]") && said[2].contains("2. [[say second]]"),
        "{said:?}"
    );
    assert_eq!(said.len(), 3);
    let ledger = world.ledger();
    let sessions: Vec<_> = ledger.all("begin").iter().map(|it| it.session.clone()).collect();
    assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_do_not_wait_for_each_other() -> Result<()> {
    let world = World::start().await?;
    let slow = world.say("[[think hm]] [[wait go]] [[say slow]]")?;
    world.reached("go").await?;
    assert_eq!(world.say("[[say quick]]")?.answer().await?, "quick");
    world.release("go")?;
    assert_eq!(slow.answer().await?, "slow");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_questions_than_slots_are_all_answered() -> Result<()> {
    let world = World::builder().slots(1).start().await?;
    let words = ["one", "two", "three", "four"];
    let ask = |word: &&str| world.say(&format!("[[say {word}]]"));
    let questions = words.iter().map(ask).collect::<Result<Vec<_>>>()?;
    for (question, word) in questions.iter().zip(words) {
        assert_eq!(question.answer().await?, word);
    }
    assert_eq!(world.ledger().count("begin"), words.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn short_runs_that_begin_and_end_at_once_are_all_answered() -> Result<()> {
    let world = World::start().await?;
    let texts: Vec<String> = (0..16).map(|number| format!("number {number}")).collect();
    let ask = |text: &String| world.say(&format!("[[say {text}]]"));
    let questions = texts.iter().map(ask).collect::<Result<Vec<_>>>()?;
    for (question, text) in questions.iter().zip(&texts) {
        assert_eq!(question.answer().await?, *text);
    }
    Ok(())
}
