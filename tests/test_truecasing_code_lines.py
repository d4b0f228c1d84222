"""Source code in a message without a fence is left alone, and prose beside it is not."""

import pytest
from truecasing_corpus import fitted

from zephyr_utils.truecasing import corrupt_case, protected_spans
from zephyr_utils.truecasing.code_lines import PLAIN

RUBY = """# this program greets maria. the river is quiet.

puts "please enter a name. we met in paris."
name = gets.chomp

# check whether maria is there. she may not be.
if name.empty? || name.length < 2
  puts "error. however, it is a common problem."
end

the_end = 1
name.each_char do |letter|
  the_end += 1
end"""
PYTHON = """total = 0
# however, count the letters. they may be many.
for letter in letters:
    total += len(letter)
    print("maria. i like it")
return total"""
SHELL = """# make the folder. then visit it.
cd /tmp/river
export name=maria
echo "visit paris. however, it is far"
git clone river"""
SQL = """select name from users
where city = 'paris'
order by name"""
JAVASCRIPT = """// look for the letter. then call maria.
items.each(function (item) {
  console.log(item);
});
letter = null"""
LUA = """local function visit(place)
  place.count = place.count + 1
  return place
end"""
BASIC = """dim river as integer
river = 5
if river > 3 then
end if"""
R = """letters <- c(1, 3)
print(letters)
# however, it is a vector. we met in may.
mean(letters)"""
PHP = """<?php
echo "however. maria";
$name = 'paris';"""
GO = """package main;
func visit(place string) {
place := "paris"
}"""
BLOCKS = (RUBY, PYTHON, SHELL, SQL, JAVASCRIPT, LUA, BASIC, R, PHP, GO)


def covered(text: str, part: str) -> bool:
    """Whether each letter of a part of the text lies in a protected span."""
    start = text.index(part)
    places = {place for begin, end in protected_spans(text) for place in range(begin, end)}
    return all(
        start + offset in places for offset, character in enumerate(part) if character.isalpha()
    )


@pytest.mark.parametrize("code", BLOCKS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_a_block_of_code_without_a_fence_is_protected_as_a_whole(code, newline, change):
    code = change(code.replace("\n", newline))
    for text in (code, f"Here it is.{newline * 2}{code}{newline * 2}Then we met Maria."):
        assert covered(text, code)


@pytest.mark.parametrize("code", BLOCKS)
@pytest.mark.parametrize("fault", ["capitalize", "lower", "sentence"])
def test_prose_around_a_block_is_repaired_and_the_block_is_not(code, fault):
    prose = "I don't know Paris well. However, Maria visited it in May.\n\n"
    faulty = corrupt_case(prose, fault) + code + corrupt_case("\n\nShe and I like Paris.", fault)
    repaired = fitted().truecase(faulty)
    assert code in repaired and repaired.startswith(prose)


def test_a_line_of_code_behind_a_sentence_is_not_a_sentence():
    # As it is in an answer of UltraChat: the statement opens with a word in lower case, behind
    # a comment that ends with a full stop.
    text = (
        "# This program takes a positive number from Maria and gives the letters of it.\n\n"
        'puts "Please bring a number:"\ninput = gets.chomp\n\n# Check the number\n'
        'if input.to_i <= 0\n  puts "It is a problem. Please bring another."\nend'
    )
    assert fitted().truecase(text) == text


@pytest.mark.parametrize(
    "command",
    ["npm install express", "pip install river-garden", "git clone the/river.git", "cd river"],
)
def test_a_single_command_is_code_and_a_sentence_about_it_is_not(command):
    assert covered(f"Do this.\n\n{command}\n\nThen we met.", command)
    sentence = f"{command} is the answer to the question of Maria."
    assert not covered(f"Do this.\n\n{sentence}\n\nThen we met.", sentence)


# Nothing of these is code, although each line looks a little like it.
PROSE = (
    "Area = length times width\nArea = 5 times 6\nArea = 30 square feet",
    "Where:\nN = the number of letters\nR = the rate of rivers\nL = the length of the river",
    "Let j = 2a + 1 and k = 2b + 1.\njk = (2a + 1)(2b + 1)\nThe product is odd",
    "Thy eyes, like rivers, sparkle bright;\nThy lips, they curl in smiles;\nThy heart is far;",
    "a. A garden;\nb. A river; and\nc. A bridge.",
    "Return the letter to Maria\nFrom Paris to London\nWhere the river ends\nEnd",
    "If you wish, visit Paris\nWhile you are there, write\nUntil we meet again",
    "# The River\n\nThe river is quiet.\n\n# The Garden\n\nThe garden is bright.",
    "Use the window with care;\nImport letters from Paris;\nPrint them",
    "  Maria visited Paris\n  and the river was quiet\n  when we met",
    "Maria: Hello!\nAhmed: How are you?\nMaria: Fine",
    "Echo of the river\nPrint of the garden\nRequire the letter",
    "Go build a bridge\nGit is a tool\nUpdate the letter\nOrder by phone",
)


@pytest.mark.parametrize("text", PROSE)
def test_prose_and_mathematics_are_not_blocks_of_code(text):
    for line in text.split("\n"):
        words = [word for word in line.split() if word.isalpha() and len(word) > 3]
        assert not words or not covered(text, line)


def test_a_heading_or_a_sentence_beside_a_block_is_not_part_of_it():
    heading, sentence = "# The River of Maria", "The garden is quiet."
    text = f"{heading}\n\ntotal = []\ntotal.append(5)\nprint(total)\n{sentence}\n\n# The Garden"
    spans = [text[start:end] for start, end in protected_spans(text)]
    assert spans == ["total = []\ntotal.append(5)\nprint(total)"]


def test_few_lines_of_code_among_many_indented_ones_make_no_block():
    poem = "\n".join(["    the river is quiet and the garden is bright"] * 8)
    text = f"letters.sort()\n{poem}\nletters.reverse()"
    assert not covered(text, poem.strip())
    assert covered("letters.sort()\n    the river\nletters.reverse()", "the river")


def test_text_between_two_fences_is_prose_however_it_is_indented():
    between = "Install the river and other letters of Maria:"
    text = f"   ```\n   cd river\n   ```\n   {between}\n   ```\n   cd garden\n   ```"
    assert not covered(text, between)


def test_blocks_do_not_cross_messages():
    # Two messages are repaired as one buffer; one line of code in each is not a block.
    first, second = "letters.sort()", "however, maria visited paris. i like it."
    assert fitted().truecase_batch([first, second]) == [
        first, "However, Maria visited Paris. I like it.",
    ]  # fmt: skip
    assert fitted().truecase_batch([first, second, first])[1] == fitted().truecase(second)


ONE_OF_EACH_KIND = r"""
total += 1
x <- c(1, 2)
a => b
name = "Ada"
items = [1, 2]
thing = new Thing(
done = false;
self = other.copy
list.append(x)
@items.each do |item|
node->next()
std::sort(a)
puts "hello"
elsif x == 1
unless a && b
end if
endwhile
dim total as integer
local function f(
fn main(
func (s *Server) Run(
def area
<?php
(define x 1)
@app.route("/")
using System;
with open(f) as g:
except ValueError:
update users set name
group by name
left join orders
export PATH=1
cd src/app
git clone x
pip install numpy
conda create env
dotnet new console
require 'json'
disp('x')
echo $HOME;
printf("x")
until x == y
outer join b
cargo build
yarn add x
brew install x
gem install x
composer install
npx run
endfunction
package main;
namespace App;
""".strip().splitlines()


@pytest.mark.parametrize("line", ONE_OF_EACH_KIND)
def test_a_block_is_found_by_any_of_the_lines_that_are_plainly_code(line):
    assert PLAIN.match(line.encode()), "the test's own line"
    text = f"It is said.\n\n{line}\n{line}\n\nIt is said."
    kept = "".join(text[slice(*span)] for span in protected_spans(text))
    assert kept.split() == [*line.split(), *line.split()]
