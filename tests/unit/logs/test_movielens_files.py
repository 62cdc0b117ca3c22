"""MovieLens directories in exactly the layouts that GroupLens publishes, a few rows of each."""

import pytest

from raysys.errors import SourceError
from raysys.logs.catalogue import inspect_catalogue, read_catalogue
from raysys.logs.movielens_files import find_movielens
from raysys.logs.readers import inspect_source, read_source
from raysys.logs.validate import check
from tests.unit.logs.tools import ITEMS, LOG, USERS, write

FLAGS_OF_TOY_STORY = "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0"
ML_100K = {
    "README": "SUMMARY & USAGE LICENSE\nMovieLens data sets were collected ... ml-100k.zip",
    "u.data": "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n",
    "u.item": (
        "1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)|"
        + FLAGS_OF_TOY_STORY
        + "\n267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        + "543|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?One|"
        + "0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n"
    ),
    "u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
    "u.genre": "unknown|0\nAction|1\n\n",
    "u.info": "943 users\n1682 items\n100000 ratings\n",
}
ML_1M = {
    "README": "SUMMARY\n=====\nThese files contain 1,000,209 anonymous ratings ...",
    "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n",
    "movies.dat": (
        "1::Toy Story (1995)::Animation|Children's|Comedy\n"
        "260::Star Wars: Episode IV - A New Hope (1977)::Action|Adventure|Fantasy|Sci-Fi\n"
        "73::Misérables, Les (1995)::Drama|Musical\n"
    ),
    "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::15::55117-1234\n",
}
ML_25M = {
    "README.txt": "Summary\n=======\n\nThis dataset (ml-25m) describes 5-star rating and ...",
    "ratings.csv": "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,306,3.5,1147868817\n",
    "movies.csv": (
        "movieId,title,genres\r\n"
        "1,Toy Story (1995),Adventure|Animation|Children|Comedy|Fantasy\r\n"
        '11,"American President, The (1995)",Comedy|Drama|Romance\r\n'
        "40697,Babylon 5,Sci-Fi\r\n"
        "151,Anne of Green Gables (1985–1987) ,(no genres listed)\r\n"
    ),
    "tags.csv": (
        "userId,movieId,tag,timestamp\n"
        '3,1,Pixar,1439472355\n4,1,pixar,1573944252\n5,1,"toys, alive",1573944252\n'
        "5,1,a|b,1573944253\n9,11,  ,1573944253\n"
    ),
    "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n",
}


def published(directory, files, encoding="utf-8"):
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        write(directory / name, content.encode(encoding))
    return directory


def read(source):
    """Return (user, item, value, seconds) of each row of a log, and how many were refused."""
    checked = [check(batch, source.name, 0, LOG.schema) for batch in read_source(source, LOG)]
    rows = [
        (one["user_id"], one["item_id"], one["event_value"], int(one["occurred_at"].timestamp()))
        for of_batch in checked
        for one in of_batch.accepted.to_pylist()
    ]
    return rows, sum(of_batch.quarantine.num_rows for of_batch in checked)


def test_100k_comes_with_its_ratings_films_and_people(tmp_path):
    files = find_movielens(published(tmp_path / "ml-100k", ML_100K, "latin-1"))
    assert files.name == "MovieLens (ml-100k)"
    assert inspect_source(files.interactions, LOG)[1] == []
    assert read(files.interactions) == (
        [
            ("196", "242", 3.0, 881250949),
            ("186", "302", 3.0, 891717742),
            ("22", "377", 1.0, 878887116),
        ],
        0,
    )
    inspect_catalogue(files.items, ITEMS)
    assert read_catalogue(files.items, ITEMS).table.to_pylist() == [
        {
            "item_id": "1",
            "title": "Toy Story (1995)",
            "year": "1995",
            "genres": "Animation|Children's|Comedy",
        },
        {"item_id": "267", "title": "unknown", "year": None, "genres": "unknown"},
        {
            "item_id": "543",
            "title": "Misérables, Les (1995)",
            "year": "1995",
            "genres": "Drama|Musical",
        },
    ]
    assert read_catalogue(files.users, USERS).table.to_pylist() == [
        {
            "user_id": "1",
            "age": "24",
            "gender": "M",
            "occupation": "technician",
            "zip_code": "85711",
        },
        {"user_id": "2", "age": "53", "gender": "F", "occupation": "other", "zip_code": "94043"},
    ]


def test_1m_has_double_colons_latin_1_and_codes_that_become_words(tmp_path):
    files = find_movielens(published(tmp_path / "ml-1m", ML_1M, "latin-1"))
    assert files.name == "MovieLens in ml-1m"  # its README does not say which it is
    assert inspect_source(files.interactions, LOG)[1] == []
    assert read(files.interactions) == (
        [("1", "1193", 5.0, 978300760), ("1", "661", 3.0, 978302109)],
        0,
    )
    assert read_catalogue(files.items, ITEMS).table.select(
        ["item_id", "title", "genres"]
    ).to_pylist() == [
        {"item_id": "1", "title": "Toy Story (1995)", "genres": "Animation|Children's|Comedy"},
        {
            "item_id": "260",
            "title": "Star Wars: Episode IV - A New Hope (1977)",
            "genres": "Action|Adventure|Fantasy|Sci-Fi",
        },
        {"item_id": "73", "title": "Misérables, Les (1995)", "genres": "Drama|Musical"},
    ]
    people = read_catalogue(files.users, USERS).table.to_pylist()
    assert [tuple(person.values()) for person in people] == [
        ("1", "under 18", "F", "K-12 student", "48067"),
        ("2", "56 or over", "M", "self-employed", "70072"),
        ("3", "25-34", "M", "scientist", "55117-1234"),
    ]


def test_10m_has_the_files_of_1m_in_utf_8_with_tags_and_without_people(tmp_path):
    given = {name: ML_1M[name] for name in ("ratings.dat", "movies.dat")}
    given["tags.dat"] = "15::1::Pixar::1215184630\n16::1::pixar::1215184631\n"
    files = find_movielens(published(tmp_path / "ml-10M100K", given))
    assert files.users is None
    films = read_catalogue(files.items, ITEMS).table
    assert films["tags"].to_pylist() == ["pixar", None, None]
    assert films["title"].to_pylist()[2] == "Misérables, Les (1995)"


def test_25m_has_quoted_titles_odd_years_and_the_tags_that_most_people_gave(tmp_path):
    files = find_movielens(published(tmp_path / "ml-25m", ML_25M))
    assert files.name == "MovieLens (ml-25m)"
    assert files.users is None
    assert inspect_source(files.interactions, LOG)[1] == []
    assert read(files.interactions) == (
        [("1", "296", 5.0, 1147880044), ("1", "306", 3.5, 1147868817)],
        0,
    )
    films = read_catalogue(files.items, ITEMS)
    assert films.notices == []
    assert [tuple(film.values()) for film in films.table.to_pylist()] == [
        (
            "1",
            "Toy Story (1995)",
            "1995",
            "Adventure|Animation|Children|Comedy|Fantasy",
            "pixar|a/b|toys, alive",
        ),
        ("11", "American President, The (1995)", "1995", "Comedy|Drama|Romance", None),
        ("40697", "Babylon 5", None, "Sci-Fi", None),
        ("151", "Anne of Green Gables (1985–1987)", "1985", None, None),
    ]


def test_a_rating_that_is_cut_off_is_refused_alone(tmp_path):
    given = {**ML_1M, "ratings.dat": "1::1193::5::978300760\n1::66\n1::661::3::978302109\n"}
    files = find_movielens(published(tmp_path, given, "latin-1"))
    rows, refused = read(files.interactions)
    assert [row[1] for row in rows] == ["1193", "661"]
    assert refused == 1


def test_a_film_that_is_cut_off_is_left_out_with_a_notice(tmp_path):
    given = {**ML_1M, "movies.dat": "1::Toy Story (1995)::Comedy\n2::Juma\n"}
    films = read_catalogue(find_movielens(published(tmp_path, given)).items, ITEMS)
    assert films.table["item_id"].to_pylist() == ["1"]
    assert films.notices == [
        f"{tmp_path}/movies.dat: 1 rows were left out, since they have not the 3 columns of the "
        f"published files."
    ]


def test_a_place_that_holds_no_movielens_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(SourceError, match="is not a directory. Unpack the archive"):
        find_movielens(tmp_path / "ml-25m.zip")
    with pytest.raises(SourceError, match=r"no MovieLens .* \(u\.data with u\.item; ratings\.dat"):
        find_movielens(tmp_path)
    published(tmp_path / "ml-1m", ML_1M)
    with pytest.raises(SourceError, match="ml-1m does: name that directory"):
        find_movielens(tmp_path)
    (tmp_path / "ml-1m" / "movies.dat").unlink()
    with pytest.raises(SourceError, match=r"movies\.dat does not exist"):
        find_movielens(tmp_path / "ml-1m")
