"""The interactive explorer that `motes explore` serves.

The page is in `page/`, plain files that load nothing from other machines; `alone/` has the files of the page without a
server. Small trained models are in `models/`. Only `server` needs the packages of the `explore` extra.
"""
