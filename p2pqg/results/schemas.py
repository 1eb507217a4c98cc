"""What is in a run's directory: its files, their columns, and what these mean."""

ROUND_COLUMNS = {
    "round": "int64",
    "epoch": "float64",
    "gradients": "int64",
    "lr": "float64",
    "train_loss": "float64",
    "consensus_distance": "float64",
    "bytes_sent": "int64",
    "wall_seconds": "float64",
    "test_accuracy": "float64",
    "test_accuracy_std": "float64",
    "test_accuracy_min": "float64",
    "averaged_model_accuracy": "float64",
    "test_loss": "float64",
}
"""rounds.parquet: one row per recorded round; null where not measured. train_loss is the mean over
clients and over the rounds since the row before; bytes_sent counts all clients from the start,
gradients those of each client."""

CONTROL_COLUMNS = {"exchanges": "int64"}
"""More of rounds.parquet where consensus control repeats exchanges: their number from the start."""

NETWORK_COLUMNS = {"present": "int64", "components": "int64", "mean_drift": "float64"}
"""More where things happen to the network: clients in it, parts it is in, and how far imperfect
mixing has moved the mean model since the start (a distance)."""

RULE_COLUMNS = {"mean_drift": "float64"}
"""The one of these that also tells of rules of gossip, which do not keep the mean."""

LIAR_COLUMNS = {
    "liars": "int64",
    "honest_consensus_distance": "float64",
    "honest_test_accuracy": "float64",
    "honest_test_accuracy_min": "float64",
    "honest_test_loss": "float64",
}
"""More where clients lie: how many did in the round, and metrics of the others alone."""

TIMING_COLUMNS = {"sim_seconds": "float64"}
"""More where links have a speed: the simulated clock when the round was done."""

STALENESS_COLUMNS = {
    f"staleness{unit}_{what}": "float64"
    for unit in ("", "_seconds")
    for what in ("mean", "95", "max")
}
"""More where clients do not wait: how old the news was that they used."""

ALL_ROUND_COLUMNS = {
    **ROUND_COLUMNS,
    **CONTROL_COLUMNS,
    **NETWORK_COLUMNS,
    **LIAR_COLUMNS,
    **TIMING_COLUMNS,
    **STALENESS_COLUMNS,
}

LINK_COLUMNS = {"sender": "int64", "receiver": "int64", "bytes": "float64", "messages": "int64"}
"""links.parquet, where links have a speed: what went over each directed link."""

CHANGE_COLUMNS = {"round": "int64", "what": "int64", "a": "int64", "b": "int64"}
"""changes.parquet: what became of the network, see `p2pqg.results.changes`."""

CLIENT_COLUMNS = {
    "round": "int64",
    "client": "int64",
    "test_accuracy": "float64",
    "test_loss": "float64",
    "num_samples": "int64",
    "distance_to_mean": "float64",
}
"""clients.parquet: one row per evaluation and client. distance_to_mean is ||x_i - mean x||."""

STEPS_COLUMNS = {"steps": "int64"}
"""More of it where clients do not wait: steps that each has made."""

ASKED_COLUMNS = {
    "validation_accuracy": "float64",
    "validation_loss": "float64",
    "personal_accuracy": "float64",
    "epsilon": "float64",
    "epsilon_unsampled": "float64",
}
"""More of both where a recipe asks for it, beside the metrics that it names."""

SUMMED_UP = (
    *("algorithm", "topology", "clients", "alpha", "dataset", "model", "seed", "rounds", "steps"),
    *("evaluated_rounds", "recorded_rounds", "least_steps", "most_steps", "best_accuracy"),
    *("seconds_before", "startup_seconds", "client_steps_per_second", "engine"),
    *("clients_per_actor", "actors", "device", "precision", "versions", "network", "events"),
    *("ways", "restarts", "stopped", "never_came", "unsaved"),
)
"""What summary.json and tables of runs have beside columns of rounds.parquet."""

MEANING = {
    "round": "communication rounds count from 0; the row is of the end of that round",
    "epoch": "passes over a mean-sized shard so far, of a client that took part in every round",
    "gradients": "that such a client has computed so far; where clients do not wait, their mean, "
    "rounded down",
    "lr": "step size of the round",
    "train_loss": "mean over the clients that took part, over the batches of a round, and over the "
    "rounds since the row before",
    "consensus_distance": "mean_i ||x_i - mean x||^2",
    "bytes_sent": "by all clients together since the start",
    "wall_seconds": "since the command began",
    "test_accuracy": "share of the full test set that a client's own model has right; in rounds: "
    "the mean over the clients",
    "test_accuracy_std": "its standard deviation over the clients: of all, divided by n",
    "test_accuracy_min": "the worst client's",
    "averaged_model_accuracy": "that of the mean of all models",
    "test_loss": "mean loss on the test set, cross entropy where no other was asked for; in "
    "rounds: the mean over the clients",
    "exchanges": "times that rows were mixed since the start (consensus control repeats exchanges)",
    "present": "clients in the network",
    "components": "parts that the network is in",
    "mean_drift": "how far imperfect mixing has moved the mean model since the start, a distance",
    "sim_seconds": "the simulated clock when the round was done",
    "staleness_mean": "where clients do not wait: how old the news was that they used since the "
    "row before; of a gradient, how often its client's model had changed since it was read; of a "
    "message, how many steps its sender had made since",
    "staleness_95": "its 95th percentile",
    "staleness_max": "its maximum",
    "staleness_seconds_mean": "the same in seconds of the simulated clock",
    "staleness_seconds_95": "its 95th percentile",
    "staleness_seconds_max": "its maximum",
    "steps": "that the client has made, where clients do not wait",
    "liars": "clients that lied in the round",
    "honest_consensus_distance": "that of the clients that did not, to the mean of these",
    "honest_test_accuracy": "mean over the clients that did not lie in the round",
    "honest_test_accuracy_min": "the worst of these",
    "honest_test_loss": "mean over these",
    "lied": "whether the client lied in the round",
    "client": "its number, from 0",
    "num_samples": "training samples of the client",
    "distance_to_mean": "||x_i - mean x||",
    "validation_accuracy": "with `validation`: as test_accuracy, of the training samples held out",
    "validation_loss": "likewise, as test_loss",
    "personal_accuracy": "with `test: own`: test_accuracy, were there of each class the share that "
    "it has of the client's own training samples; in rounds: the mean over the clients of whose "
    "classes the test set has any",
    "epsilon": "with `privacy`: at its delta, that of a client's samples since the start, as if "
    "each batch drew every sample with the same chance; in rounds: the largest",
    "epsilon_unsampled": "the same of the batches that were drawn",
    "sender": "number of the client that sent",
    "receiver": "number of the client that received",
    "bytes": "that went over the link since the start",
    "messages": "likewise",
    "what": "0 link cut, 1 link mended, 2 client left, 3 client back, 4 new link, 5 link no more, "
    "6 client joined; `round` rounds were done",
    "a": "the client, or the link's sender",
    "b": "the link's receiver; -1: it was no link",
}
"""What is in the columns of our files."""

FILES = {
    "config.yaml": "the recipe, every default filled in; `p2pqg run config.yaml` repeats the run",
    "rounds.parquet": "one row per recorded round",
    "clients.parquet": "one row per evaluation and client",
    "links.parquet": "where links have a speed: what went over each",
    "changes.parquet": "where the network changed: what, and after which round",
    "summary.json": "what the run came to; `evaluated_rounds` and `recorded_rounds` say of when. "
    "`client_steps_per_second`: steps that clients made in the rounds after the first, by the time "
    "in which rounds were run, evaluated and recorded. `steps`, of a run whose length is in steps: "
    "those of a client that took part in every round. `staleness_mean`: that of the rows, each as "
    "often as it has rounds",
    "failed.json": "only of a run that came to nothing: why",
    "checkpoints/": "the last two; `p2pqg resume` goes on from there",
    "files/": "the user's own files that the recipe names, as they were",
    "profile.json, trace.json": "with --profile: where the time went",
}
"""What is in a run's directory."""
