//! What is seen on the host by whoever attaches to tmux.

use anyhow::Result;
use harness::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_watched_in_tmux() -> Result<()> {
    let world = World::start_real().await?;
    let question = world.say("a question to watch [[think a thought]] [[wait go]] [[say done]]")?;
    world.reached("go").await?;
    let is_shown = || {
        let screens = world.screens("watch");
        screens.len() == 1 && screens[0].contains("a question to watch")
    };
    world.until("the question in the window", is_shown).await?;
    assert!(world.log("runner-svc").contains("attach -r -t ="), "the log says how to watch");
    world.release("go")?;
    assert_eq!(question.answer().await?, "done");
    Ok(())
}
