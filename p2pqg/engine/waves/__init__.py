"""Clients that do not wait: their steps are played in waves.

When things happen depends on the clock, not on the models. So the timeline (whose gradient is done
when, who meets whom, which message is there when) is a function of the seed, the network and its
clock, which every process works out for itself. It is cut into waves: steps of different clients
that do not depend on each other, one stacked call on the rows that take part.

    routing.py    what a timeline is made of: network, clock, borders of blocks
    draws.py      what each client's steps will take, and whom they lead to
    timeline.py   what all timelines have in common
    meetings.py   the timeline of `meet`: two clients at a time, who wait for each other
    pushes.py     the timeline of `push` and `arrived`: all steps of a window, put in order at once
    letters.py    messages on their way, and the steps that send and read them
    planner.py    a timeline some rounds ahead, handed out in portions; begins with `timeline_of`
    wave.py       one stacked call of a block; transfers.py: what crosses borders in it
    cut.py        the events of a few rounds as waves, cut along the borders of blocks
    mail.py       messages that have been sent and are not read yet
    block.py      a block of clients that plays waves, and its host.py; pairs.py: who meets, mixes
    calls.py      one step, and what it asks of the network
    rows.py       some rows of tensors, taken out and put back; computed.py: their gradients
    journal.py    what happened in a round; book.py: the books of it, how old the news was too
    scout.py      what the driver knows of the waves beforehand

A round is as many steps as there are clients, whoever makes them: a mean client-step. What
is between two rounds, gradients begun and messages on their way included, is state.
"""
