"""The site: `make docs` builds build/site from the pages of this folder, with Sphinx, MyST and pydata-sphinx-theme."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import sources

project = "motes"
author = "The motes authors"
copyright = "The motes authors, MIT licence"
release = version = sources.VERSION
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sources",
]
root_doc = "index"
include_patterns = ["*.md", "tutorial.py", "course/**", "gallery/**", "notes/**", "reference/**"]
exclude_patterns = ["gallery/*.py"]
templates_path = ["_templates"]

# A notebook is a .py file, run once for each state of the sources of motes.
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".py": "myst-nb"}
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 4
nb_custom_formats = {".py": "sources.read_notebook"}
nb_execution_mode = "cache"
nb_execution_cache_path = str(sources.CACHE)
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_merge_streams = True
html_math_renderer = "mathml"

# The reference.
autodoc_default_options = {
    "members": True,
    "inherited-members": True,
    "member-order": "bysource",
}
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "Changes", "OnProgress", "SamplingLike")}
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "code"
add_module_names = False
suppress_warnings = ["ref.python"]  # a name that two packages have, such as Sampler

# The look.
html_theme = "pydata_sphinx_theme"
html_title = "motes"
html_baseurl = os.environ.get("SITE_URL", "")
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_copy_source = html_show_sourcelink = False
html_context = {"card": f"{html_baseurl.rstrip('/')}/_images/card.png" if html_baseurl else ""}
html_theme_options = {
    "logo": {"text": "motes", "image_light": "_static/icon.svg", "image_dark": "_static/icon.svg"},
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "navigation_depth": 2,
    "collapse_navigation": True,
    "show_prev_next": True,
    "secondary_sidebar_items": [],  # wide code needs the space
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": False,
    "pygments_dark_style": "github-dark",
    "icon_links": [{"name": "Source", "url": sources.REPOSITORY, "icon": "fa-brands fa-github"}]
    if sources.REPOSITORY
    else [],
}
html_sidebars = {"**": ["page-toc", "sidebar-nav-bs"], "index": []}
