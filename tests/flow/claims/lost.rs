//! Workers that are gone: what they were given goes to others at once, and costs no attempt.

use tokio::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_for_a_worker_that_is_gone_begin_elsewhere() {
    let server = Server::start(Profile::Durable).await;
    let running = server.host("host-1", false).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    register(&bus, "plain-2").await;
    // A worker with eight waiting places whose connection is gone.
    let gone = server.bus().await;
    let dead = connection(&gone).await;
    for _ in 0..8 {
        dead.send(CommandId(Uuid::now_v7()), &claim(WORKER, 1)).await;
    }
    gone.flush().await;
    // Answered behind the others, so they have arrived.
    let mut alive = connection(&bus).await;
    alive
        .send(CommandId(Uuid::now_v7()), &Claim { skills: vec!["juggling".into()], ..claim(WORKER, 1) })
        .await;
    assert!(matches!(alive.next().await, Some((_, Heard::Refused(_)))));
    drop(dead);
    gone.flush().await;
    let began = Instant::now();
    for number in 0..8 {
        submit(&bus, &format!("lost-{number}")).await;
    }
    for _ in 0..8 {
        let job = next_job(&mut alive, "plain-2").await;
        assert!(matches!(query(&bus, job.task.clone(), &renew(&job)).await, Reply::Accepted { .. }));
        accepted(&bus, job.task.clone(), &complete(&job)).await;
    }
    assert!(began.elapsed() < 8 * SOON, "they began after {:?}", began.elapsed());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_nobody_ever_begins_ends_as_poison() {
    let server = Server::start(Profile::Fast).await;
    let running = server.host("host-1", false).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    submit(&bus, "deadly").await;
    let working = tokio::spawn({
        let bus = bus.clone();
        async move {
            let mut connection = connection(&bus).await;
            // It takes the job, and dies of it each time.
            loop {
                next_job(&mut connection, WORKER).await;
            }
        }
    });
    let ended = until_state(&bus, "deadly", "failed").await;
    working.abort();
    assert_eq!(ended["failure"]["class"], "poison", "{ended}");
    assert_eq!(ended["failure"]["code"], "issued-too-often", "{ended}");
    running.stop().await;
}
