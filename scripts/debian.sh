# Programs out of Debian packages without installing them: sourced by the other scripts.
#
# apt works with lists and sources of its own below a folder of the caller's, so that it needs no
# rights, changes nothing in /etc or /var, and starts no service; packages are unpacked, not installed.

# Where built and unpacked programs are kept.
quotascale_cache() {
    echo "${XDG_CACHE_HOME:-${HOME:?}/.cache}/quotascale"
}

# quotascale_apt FOLDER COMMAND ..: `apt-get` or `apt-cache` that knows the system's repositories and
# their sources too.
quotascale_apt() {
    local folder=$1 command=$2 file
    shift 2
    if [[ ! -d $folder/sources.list.d ]]; then
        mkdir -p "$folder/sources.list.d" "$folder/lists/partial" "$folder/cache/archives/partial"
        # The one-line format and deb822, each in its own way.
        for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
            [[ ! -f $file ]] ||
                sed -n '/^deb[[:space:]]/{p;s/^deb/deb-src/p}' "$file" > "$folder/sources.list.d/$(basename "$file" .list).list"
        done
        for file in /etc/apt/sources.list.d/*.sources; do
            [[ ! -f $file ]] ||
                sed 's/^Types:.*/Types: deb deb-src/' "$file" > "$folder/sources.list.d/$(basename "$file")"
        done
    fi
    "$command" -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$folder/sources.list.d" \
        -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache" \
        -o APT::Sandbox::User=root -o APT::Update::Post-Invoke::= -o Acquire::Retries=3 "$@"
}

# unpack_debian FOLDER ROOT PACKAGE ..: fetches packages (not what they depend on) and unpacks them below ROOT.
unpack_debian() {
    local folder=$1 root=$2 deb
    shift 2
    mkdir -p "$root" "$folder/debs"
    (cd "$folder/debs" && quotascale_apt "$folder" apt-get download "$@")
    for deb in "$folder"/debs/*.deb; do
        dpkg-deb --extract "$deb" "$root"
        rm "$deb"
    done
}
