//! Much that waits at once: all of it is answered, in order, whatever is killed meanwhile.

use anyhow::Result;
use harness::{Question, World};

async fn ask<'w>(first: Question<'w>, texts: &[String]) -> Result<Vec<Question<'w>>> {
    let mut asked = Vec::new();
    for text in texts {
        asked.push(first.follow_up(&format!("[[say {text}]]")).await?);
    }
    Ok(asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_questions_of_a_thread_are_answered_in_order_whatever_is_killed() -> Result<()> {
    let world = World::start().await?;
    let first = world.say("[[think hm]] [[wait go]] [[say first]]")?;
    world.reached("go").await?;
    let texts: Vec<String> = (1..40).map(|number| format!("number {number}")).collect();
    let asked = ask(first, &texts).await?;
    asked[5].is_seen().await?;
    world.kill_gateway().await?;
    world.release("go")?;
    world.start_gateway().await?;
    for part in [12, 24] {
        world.notes("a part of it", |ledger| part <= ledger.count("result")).await?;
        world.kill_runner().await?;
        world.kill_gateway().await?;
        world.start_gateway().await?;
        world.start_runner().await?;
    }
    for question in &asked {
        assert_eq!(question.mark().await?, "✅");
    }
    let said = first.said_in_thread()?;
    assert_eq!(said[0], "first");
    assert_eq!(said[1..], texts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_questions_of_four_threads_survive_a_crash() -> Result<()> {
    let world = World::start().await?;
    let mut firsts = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let first = world.say(&format!("[[think hm]] [[wait go]] [[say {name} 0]]"))?;
        first.thread_name().await?;
        let texts: Vec<String> = (1..4).map(|number| format!("{name} {number}")).collect();
        let asked = ask(first, &texts).await?;
        firsts.push((first, name, asked));
    }
    world.reached("go").await?;
    for (_, _, asked) in &firsts {
        asked[1].is_seen().await?;
    }
    world.kill_runner().await?;
    world.kill_gateway().await?;
    world.release("go")?;
    world.start_gateway().await?;
    world.start_runner().await?;
    for (first, name, asked) in &firsts {
        for question in asked {
            assert_eq!(question.mark().await?, "✅");
        }
        let expected: Vec<String> = (0..4).map(|number| format!("{name} {number}")).collect();
        assert_eq!(first.said_in_thread()?, expected);
    }
    Ok(())
}
