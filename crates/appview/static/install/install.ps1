# Installs docker-credential-atcr from {{BASE_URL}}.
#
#   iwr -useb {{BASE_URL}}/install.ps1 | iex
#
# $env:INSTALL_DIR   where to put it; "C:\Program Files\ATCR" for an administrator, else %LOCALAPPDATA%\Programs\ATCR
#
# The archive's SHA-256 is compared with the one this registry names before anything is installed.

# Everything happens in a function that is called last: half a script, from a broken download, does nothing.
function Install-DockerCredentialAtcr {
    $ErrorActionPreference = 'Stop'
    # Windows PowerShell 5 starts with older TLS, and its progress bar slows downloads down.
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    $ProgressPreference = 'SilentlyContinue'

    $baseUrl = '{{BASE_URL}}'
    $program = 'docker-credential-atcr.exe'

    $machine = $env:PROCESSOR_ARCHITECTURE
    if ($env:PROCESSOR_ARCHITEW6432) { $machine = $env:PROCESSOR_ARCHITEW6432 }
    $arch = switch ($machine) {
        'AMD64' { 'amd64' }
        'ARM64' { 'arm64' }
        default { throw "there is no release for $machine" }
    }

    $release = Invoke-RestMethod -UseBasicParsing -Uri "$baseUrl/api/credential-helper/version"
    $archive = $release.archives | Where-Object { $_.os -eq 'windows' -and $_.arch -eq $arch } | Select-Object -First 1
    if (-not $archive) { throw "there is no release for windows/$arch at $baseUrl" }
    $url = [string]$archive.url
    if ($url.StartsWith('/')) { $url = "$baseUrl$url" }
    if (-not ($url.StartsWith('https://') -or $url.StartsWith("$baseUrl/"))) {
        throw 'the release is not at an https address'
    }
    $expected = ([string]$archive.sha256).ToLowerInvariant()
    if ($expected -notmatch '^[0-9a-f]{64}$') { throw 'the release has no SHA-256' }

    $work = Join-Path ([IO.Path]::GetTempPath()) ([Guid]::NewGuid().ToString())
    New-Item -ItemType Directory -Path $work | Out-Null
    try {
        Write-Host "Downloading docker-credential-atcr $($release.version) for windows/$arch"
        $isTar = ([Uri]$url).AbsolutePath.EndsWith('.tar.gz')
        $file = Join-Path $work $(if ($isTar) { 'archive.tar.gz' } else { 'archive.zip' })
        Invoke-WebRequest -UseBasicParsing -Uri $url -OutFile $file
        $actual = (Get-FileHash -Algorithm SHA256 -Path $file).Hash.ToLowerInvariant()
        if ($actual -ne $expected) {
            throw 'the archive does not have the announced SHA-256; nothing was installed'
        }
        $unpacked = Join-Path $work 'unpacked'
        if ($isTar) {
            # Part of Windows since version 1803 of Windows 10.
            if (-not (Get-Command tar.exe -ErrorAction SilentlyContinue)) {
                throw 'the archive is a .tar.gz, and this Windows has no tar to unpack it'
            }
            New-Item -ItemType Directory -Path $unpacked | Out-Null
            & tar.exe -xzf $file -C $unpacked
            if ($LASTEXITCODE -ne 0) { throw 'the archive cannot be unpacked' }
        }
        else {
            Expand-Archive -Path $file -DestinationPath $unpacked
        }
        $found = Get-ChildItem -Path $unpacked -Recurse -File -Filter $program | Select-Object -First 1
        if (-not $found) { throw "the archive does not hold $program" }
        & $found.FullName version | Out-Null
        if ($LASTEXITCODE -ne 0) { throw 'the program does not run on this machine' }

        $principal = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
        $isAdministrator = $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
        $folder = $env:INSTALL_DIR
        if (-not $folder) {
            $folder = if ($isAdministrator) { Join-Path $env:ProgramFiles 'ATCR' } else { Join-Path $env:LOCALAPPDATA 'Programs\ATCR' }
        }
        $folder = (New-Item -ItemType Directory -Force -Path $folder).FullName
        $target = Join-Path $folder $program
        # A running program can be renamed but not replaced.
        $old = "$target.old"
        $isReplaced = Test-Path -LiteralPath $target
        if ($isReplaced) {
            Remove-Item -Force -ErrorAction SilentlyContinue -LiteralPath $old
            Move-Item -Force -LiteralPath $target -Destination $old
        }
        try {
            Copy-Item -LiteralPath $found.FullName -Destination $target
        }
        catch {
            # What was there before comes back; the error that counts is this one.
            if ($isReplaced) {
                Remove-Item -Force -ErrorAction SilentlyContinue -LiteralPath $target
                Move-Item -Force -ErrorAction SilentlyContinue -LiteralPath $old -Destination $target
            }
            throw
        }

        # Read and written in the registry itself: the functions for variables would expand every %NAME% in it for good.
        $key = if ($isAdministrator) {
            [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Session Manager\Environment', $true)
        }
        else {
            [Microsoft.Win32.Registry]::CurrentUser.CreateSubKey('Environment')
        }
        try {
            $path = ''
            $kind = [Microsoft.Win32.RegistryValueKind]::ExpandString
            if ($key.GetValueNames() -contains 'Path') {
                $path = [string]$key.GetValue('Path', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
                $kind = $key.GetValueKind('Path')
            }
            $known = @($path -split ';') + @([Environment]::ExpandEnvironmentVariables($path) -split ';')
            if ($known -notcontains $folder) {
                $longer = (@($path.TrimEnd(';'), $folder) | Where-Object { $_ }) -join ';'
                $key.SetValue('Path', $longer, $kind)
                # Removing a variable that is not there changes nothing, and tells programs to read the environment anew.
                [Environment]::SetEnvironmentVariable('ATCR_INSTALLED', $null, 'User')
            }
        }
        finally {
            $key.Dispose()
        }
        if (($env:Path -split ';') -notcontains $folder) { $env:Path = "$env:Path;$folder" }

        Write-Host "Installed: $target"
        Write-Host ''
        Write-Host 'Next, sign in:'
        Write-Host "    docker-credential-atcr login $(([Uri]$baseUrl).Authority)"
    }
    finally {
        Remove-Item -Recurse -Force -ErrorAction SilentlyContinue $work
    }
}

Install-DockerCredentialAtcr
