"""Scripts and styles say the same when they are made lean."""

import pytest

from sparsejax.pages import lean


def test_scripts_lose_comments_and_spaces_and_nothing_else():
    text = """
    /* two
       lines */
    const f = (x) => {
      const a = x - -1; // a comment
      if (a) { const d = "a  =  // b;"; return `${d}  ${a + 1}`; }
      return x.replace(/\\/ {2}/g, "");
    };
    const h = a / b;
    """
    assert lean.script(text) == (
        'const f=(x)=>{const a=x - -1;if(a){const d="a  =  // b;";'
        'return `${d}  ${a + 1}`}return x.replace(/\\/ {2}/g,"")};const h=a/b;'
    )


def test_scripts_that_it_cannot_read_are_refused():
    with pytest.raises(ValueError, match="cannot read"):
        lean.script("const a = 'single quotes';")


def test_styles():
    text = """
    /* a comment */
    p, li > b { margin: 0 4px; width: calc(1px + 2px); }
    """
    assert lean.style(text) == "p,li>b{margin:0 4px;width:calc(1px + 2px)}"
