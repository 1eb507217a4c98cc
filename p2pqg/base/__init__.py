"""What every room stands on: errors, registries, reading of settings, keyed randomness, wording.

    errors.py      every exception a user can meet
    registry.py    name -> builder and its params class; `import_parts` finds a room's files
    seeding.py     rng(seed, purpose, client, ...): every draw has a key
    lazy.py        torch, imported when something of it is first used

Settings: `config.py` (mappings -> data classes, all problems at once), `dotted.py` (keys below
keys), `ranges.py` (what numbers must keep to), `signature.py` (a user's function as a params
class).
Files: `yaml_text.py`, `csv_file.py`, `text.py` (UTF-8, JSON, names of folders), `drawings.py`
(theirs), `shipped.py` (those that come with p2pqg), `cache_dir.py`, `hub.py` (of Hugging Face).
A user's own code: `user_code.py` finds it in files, `source.py` makes a file of it, `digest.py`
tells apart what no file can keep, `imported.py` the packages it imports; `draws.py` sees and keys
the random numbers it takes that a process shares.
Memory: `memory.py` (how much there is), `pieces.py` (arrays a piece at a time), `records.py` (rows
of results), `uploading.py` (to a device). `wording.py` says numbers as people read them,
`distinct.py` finds the different ones, `steady.py` is a clock that nobody sets, `themes.py` knows
dark notebooks, `own_version.py` which p2pqg this is, and `alone.py` lets one process of a machine
do something at a time; by `ending.py` a process ends with the one that began it, and `forked.py`
holds what one that was forked must make anew.
"""
